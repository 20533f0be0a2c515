//! The machine, looked at once at the start: what a context may say of it, and no more. Never a host name, an
//! address, a machine-id or a build's own name.

use telemetry_policy::MachineFacts;

/// What this machine is.
pub(super) fn facts() -> MachineFacts {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let distribution = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find_map(|path| distribution(&std::fs::read_to_string(path).ok()?));
    MachineFacts::new(
        match std::env::consts::OS {
            "macos" => "darwin",
            os => os,
        },
        numbered(&release),
        distribution.as_deref(),
        std::env::consts::ARCH,
        std::thread::available_parallelism()
            .ok()
            .map(std::num::NonZero::get),
    )
}

/// The first two numbers of a kernel's release: `6.18` of `6.18.44-our-own-build`. What follows them can name a
/// company.
fn numbered(release: &str) -> Option<&str> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let major = digits(release);
    let minor = release
        .get(major..)?
        .strip_prefix('.')
        .map_or(0, |rest| 1 + digits(rest));
    release.get(..major + minor).filter(|_| major > 0)
}

/// `ID` of os-release(5), where it is what it may be: lower-case letters, digits, `.`, `_` and `-`.
fn distribution(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("ID="))?;
    let value = value.trim().trim_matches(['"', '\'']);
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    (!value.is_empty() && value.len() <= 32 && value.bytes().all(good)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_its_first_two_numbers() {
        assert_eq!(numbered("6.18.44-acme-v595"), Some("6.18"));
        assert_eq!(numbered("25.1.0"), Some("25.1"));
        assert_eq!(numbered("7"), Some("7"));
        assert_eq!(numbered("acme"), None);
    }

    #[test]
    fn a_distribution_is_its_id_or_nothing() {
        assert_eq!(
            distribution("NAME=\"Debian\"\nID=debian\n").as_deref(),
            Some("debian")
        );
        assert_eq!(
            distribution("ID=\"opensuse-leap\"\n").as_deref(),
            Some("opensuse-leap")
        );
        assert_eq!(distribution("ID=\"Our Own <x>\"\n"), None);
    }
}

//! What the requests of a burst share: the credential, and trust. Read when the burst begins, forgotten when
//! it ends ([`Client::rest`]), so that an idle daemon holds neither (I11) and a file that was mended counts.

use super::Client;
use super::failure::{Failure, Stop};
use super::outcome::Progress;
use super::probe::Step;
use super::proxy::Route;
use super::secret::{self, Credential};
use super::tls::{TlsError, Trust};
use crate::verdict::{Cause, HoldReason};

/// What the requests of a burst share.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) credential: Option<Credential>,
    /// Absent where nothing on the way is TLS.
    pub(super) trust: Option<Trust>,
}

/// Why there is nothing to share.
pub(super) enum Unprepared {
    Credential(String),
    Tls(TlsError),
}

impl Client {
    /// What the burst shares, read now if this is its first request.
    pub(super) async fn prepare(&mut self, progress: &mut Progress) -> Result<Prepared, Stop> {
        progress.begin(
            Step::Settings,
            "reading credentials, certificates and certificate authorities",
        );
        if let Route::Unusable(problem) = &self.route {
            let advice = HoldReason::Proxy.advice();
            return Err(Stop::Hold(HoldReason::Proxy, format!("{problem}; {advice}")));
        }
        if let Some(prepared) = &self.prepared {
            return Ok(prepared.clone());
        }
        let auth = self.destination.auth.clone();
        let tls = self.destination.tls.clone();
        let to_proxy = self.route.proxy().is_some_and(|via| via.tls_name.is_some());
        let wanted = self.target.tls_name.is_some() || to_proxy;
        let aside = wanted || secret::may_block(&auth);
        let read = move || {
            let credential = secret::credential(&auth).map_err(Unprepared::Credential)?;
            let trust = match wanted {
                true => Some(Trust::load(&tls, to_proxy).map_err(Unprepared::Tls)?),
                false => None,
            };
            Ok(Prepared { credential, trust })
        };
        let prepared = if aside {
            let ran = self.prepare.run("telemetryd-trust", read).await;
            ran.map_err(|error| Failure::of("starting a thread", &error, Cause::Io))?
        } else {
            read()
        };
        match prepared {
            Ok(prepared) => Ok(self.prepared.insert(prepared).clone()),
            Err(Unprepared::Credential(problem)) => Err(Stop::Hold(HoldReason::Credentials, problem)),
            Err(Unprepared::Tls(TlsError::CaFile(problem))) => Err(Stop::Hold(HoldReason::CaFile, problem)),
            Err(Unprepared::Tls(TlsError::Identity(problem))) => {
                Err(Stop::Hold(HoldReason::ClientCertificate, problem))
            }
            Err(Unprepared::Tls(TlsError::Roots(detail))) => Err(Stop::Failed(Failure {
                cause: Cause::Tls,
                detail,
            })),
        }
    }
}

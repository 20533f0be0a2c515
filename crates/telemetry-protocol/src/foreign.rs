//! Ids that others made: a vendor's event id that is no UUID becomes one (GATEWAY, "event id").

use uuid::Uuid;

/// The namespace of ids made from a vendor's (RFC 9562, section 5.5): drawn once, and never changed, for a client's
/// retry must find the event that it repeats.
pub const VENDOR_IDS: Uuid = Uuid::from_u128(0x5d0e_8f3a_92c1_4b67_a4d8_1f7c_06be_e295);

/// The id of the event that `tool` calls `id`: itself where it is a UUID, else a UUIDv5 of tool, NUL, id.
#[must_use]
pub fn event_id(tool: &str, id: &str) -> Uuid {
    Uuid::try_parse(id)
        .unwrap_or_else(|_| Uuid::new_v5(&VENDOR_IDS, &[tool.as_bytes(), b"\0", id.as_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_stays_and_everything_else_becomes_always_the_same_one() {
        let uuid = "019aa6c2-7a41-7c3e-9f61-6a2c0d6b3a10";
        assert_eq!(event_id("t", uuid).to_string(), uuid);
        assert_eq!(
            event_id("t", "7").to_string(),
            "edc31d68-1c66-5f20-a706-75aeee1b0c38"
        );
        assert_ne!(event_id("t", "7"), event_id("u", "7"));
        assert_ne!(event_id("t", "7"), event_id("t7", ""));
    }
}

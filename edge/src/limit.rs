//! Under which name a caller is counted.
//!
//! receive → **limit** → the rate limiting binding (per address, before any work). The exact bucket per user is
//! `caller::bucket`.
//!
//! Invariant: one household is one caller: IPv6 is cut to its /64, because a single machine may choose among
//! 2^64 addresses there. Only `cf-connecting-ip` is believed, which the platform sets itself.
//! Failure: a limiter that fails lets webhooks pass (losing money's notice is worse) and refuses checkout.

use std::net::IpAddr;

/// What the limiter counts by: the group of routes and the caller's network.
pub(crate) fn key(group: &str, address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => format!("{group}|{v4}"),
        Ok(IpAddr::V6(v6)) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                format!("{group}|{v4}")
            } else {
                let [a, b, c, d, ..] = v6.segments();
                format!("{group}|{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }
        Err(_) => format!("{group}|unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn ed_2_an_address_is_counted_by_its_network() {
        for (address, expected) in [
            ("203.0.113.9", "webhook|203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", "webhook|2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::1", "webhook|2001:db8:1:2::/64"),
            ("::ffff:203.0.113.9", "webhook|203.0.113.9"),
            ("", "webhook|unknown"),
            ("203.0.113.9, 198.51.100.1", "webhook|unknown"),
        ] {
            assert_eq!(key("webhook", address), expected, "{address:?}");
        }
    }
}

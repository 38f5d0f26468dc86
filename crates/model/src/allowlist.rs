//! From which addresses a key may call: IPv4 and IPv6 addresses and CIDRs.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::tenant::Tier;
use crate::word::words;
use crate::{BodyError, Problem};

/// Entries of one list at most.
pub const ALLOWLIST_ENTRIES_MAX: usize = 200;

/// Bits before the IPv4 address in an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

words! {
    /// What becomes of a call from an address that is not on the list.
    Mode "an allowlist's mode" {
        /// It is refused.
        Enforce "enforce";
        /// It passes, and what would have been refused is on record.
        Observe "observe";
    }
}

/// The addresses that may call. An empty list restricts nothing.
///
/// IPv4-mapped IPv6 is IPv4, in the list and in the address that is asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowlist(Vec<IpNet>);

/// Why a text is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// Neither an address nor a CIDR.
    #[error("{0} is neither an IP address nor a CIDR, such as 192.0.2.7 or 10.0.0.0/8")]
    Unreadable(String),
    /// A prefix that does not begin where its range begins: most likely a slip.
    #[error("{given} has bits set outside its prefix: write {range} for the whole range, or {address} for one address")]
    HostBits {
        /// As it was written.
        given: String,
        /// The range that it lies in.
        range: String,
        /// The address alone.
        address: String,
    },
}

impl EntryFault {
    /// For programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "invalid_address",
            Self::HostBits { .. } => "host_bits",
        }
    }
}

impl Allowlist {
    /// Reads a list, naming every fault at its place below `pointer`.
    pub fn parse(entries: &[String], pointer: &str) -> Result<Self, Vec<BodyError>> {
        if entries.len() > ALLOWLIST_ENTRIES_MAX {
            let detail = format!("The allowlist has more than {ALLOWLIST_ENTRIES_MAX} entries.");
            return Err(vec![BodyError::new(pointer, "too_many", detail)]);
        }
        let mut nets = Vec::new();
        let mut errors = Vec::new();
        for (place, text) in entries.iter().enumerate() {
            match entry(text) {
                Ok(net) if nets.contains(&net) => {}
                Ok(net) => nets.push(net),
                Err(fault) => {
                    errors.push(BodyError::new(format!("{pointer}/{place}"), fault.code(), format!("{fault}.")));
                }
            }
        }
        if errors.is_empty() { Ok(Self(nets)) } else { Err(errors) }
    }

    /// Whether it restricts nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` may call.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.is_empty() || self.0.iter().any(|net| net.contains(&address))
    }

    /// Whether every address that `other` lets call may also call by this list.
    pub fn covers(&self, other: &Allowlist) -> bool {
        if self.0.is_empty() {
            return true;
        }
        // Neighbours are joined first: 10.0.0.0/9 and 10.128.0.0/9 together cover 10.0.0.0/8.
        let joined = IpNet::aggregate(&self.0);
        !other.0.is_empty() && other.0.iter().all(|theirs| joined.iter().any(|mine| mine.contains(theirs)))
    }

    /// The entries as they are shown: an address alone without its prefix.
    pub fn entries(&self) -> Vec<String> {
        self.0.iter().map(|net| show(*net)).collect()
    }
}

fn show(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// Reads one entry: an address or a CIDR, IPv4 where it is IPv4.
pub fn entry(text: &str) -> Result<IpNet, EntryFault> {
    let text = text.trim();
    let unreadable = || EntryFault::Unreadable(format!("{:?}", text.chars().take(64).collect::<String>()));
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let net = text.parse::<IpNet>().map(unmapped).map_err(|_| unreadable())?;
    if net.addr() == net.network() {
        return Ok(net);
    }
    Err(EntryFault::HostBits {
        given: text.to_owned(),
        range: net.trunc().to_string(),
        address: net.addr().to_string(),
    })
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let prefix = v6.prefix_len().checked_sub(MAPPED_BITS);
    let v4 = v6.addr().to_ipv4_mapped().zip(prefix).and_then(|(address, bits)| Ipv4Net::new(address, bits).ok());
    v4.map_or(net, IpNet::V4)
}

/// Refuses a change of a list, from the one before to the one after, that the tenant's tier does not allow. After the tier
/// was lowered a list goes on being enforced: it may be removed or narrowed, and no more.
pub fn require_tier(tier: Tier, before: (&Allowlist, Mode), after: (&Allowlist, Mode)) -> Result<(), Problem> {
    let is_narrower = !before.0.is_empty() && before.0.covers(after.0) && after.1 <= before.1;
    if after.0.is_empty() || before == after || is_narrower {
        return Ok(());
    }
    tier.require(Tier::ALLOWLISTS, "An IP allowlist")
}

impl fmt::Display for Allowlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.entries().join(", "))
    }
}

impl Serialize for Allowlist {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Allowlist {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<String>::deserialize(deserializer)?;
        entries.iter().map(|text| entry(text).map_err(de::Error::custom)).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(entries: &[&str]) -> Allowlist {
        let entries: Vec<String> = entries.iter().map(|&text| text.to_owned()).collect();
        Allowlist::parse(&entries, "/allowlist").expect("a list")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_slip_is_refused_and_the_range_is_named() {
        let entries = ["10.0.0.5/8", "192.0.2.1", "somewhere", "::ffff:10.0.0.5/104", "2001:db8::1/32", "10.0.0.0/33"];
        let errors = Allowlist::parse(&entries.map(str::to_owned), "/allowlist").expect_err("five faults");
        let found: Vec<_> = errors.iter().map(|e| (e.pointer.as_str(), e.code.as_ref(), e.detail.as_str())).collect();
        assert_eq!(
            found,
            [
                (
                    "/allowlist/0",
                    "host_bits",
                    "10.0.0.5/8 has bits set outside its prefix: write 10.0.0.0/8 for the whole range, or 10.0.0.5 for one address."
                ),
                (
                    "/allowlist/2",
                    "invalid_address",
                    "\"somewhere\" is neither an IP address nor a CIDR, such as 192.0.2.7 or 10.0.0.0/8."
                ),
                (
                    "/allowlist/3",
                    "host_bits",
                    "::ffff:10.0.0.5/104 has bits set outside its prefix: write 10.0.0.0/8 for the whole range, or 10.0.0.5 for one address."
                ),
                (
                    "/allowlist/4",
                    "host_bits",
                    "2001:db8::1/32 has bits set outside its prefix: write 2001:db8::/32 for the whole range, or 2001:db8::1 for one address."
                ),
                (
                    "/allowlist/5",
                    "invalid_address",
                    "\"10.0.0.0/33\" is neither an IP address nor a CIDR, such as 192.0.2.7 or 10.0.0.0/8."
                ),
            ]
        );
    }

    #[test]
    fn a_mapped_address_is_ipv4_in_the_list_and_outside_it() {
        let mapped = list(&["::ffff:192.0.2.7", "::ffff:10.0.0.0/104", "2001:db8::/32"]);
        assert_eq!(mapped.entries(), ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32"]);
        for (address, may) in [
            ("192.0.2.7", true),
            ("::ffff:192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.200.0.1", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(mapped.contains(ip(address)), may, "{address}");
        }
        assert!(!list(&["::/0"]).contains(ip("::ffff:192.0.2.7")), "all of IPv6 is not all of IPv4");
        assert!(Allowlist::default().contains(ip("192.0.2.7")), "an empty list restricts nothing");
    }

    #[test]
    fn after_a_lower_tier_a_list_is_removed_or_narrowed_and_no_more() {
        use Mode::{Enforce, Observe};
        let (wide, narrow, none) = (list(&["10.0.0.0/8"]), list(&["10.1.0.0/16", "10.2.3.4"]), Allowlist::default());
        let other = list(&["192.0.2.0/24"]);
        for (before, after, may) in [
            ((&none, Enforce), (&none, Observe), true),
            ((&none, Enforce), (&wide, Enforce), false),
            ((&none, Enforce), (&wide, Observe), false),
            ((&wide, Enforce), (&wide, Enforce), true),
            ((&wide, Enforce), (&narrow, Enforce), true),
            ((&wide, Enforce), (&none, Enforce), true),
            ((&narrow, Enforce), (&wide, Enforce), false),
            ((&wide, Enforce), (&other, Enforce), false),
            ((&wide, Enforce), (&wide, Observe), false),
            ((&wide, Observe), (&narrow, Enforce), true),
            ((&wide, Observe), (&narrow, Observe), true),
        ] {
            let told = |tier| require_tier(tier, before, after).map_err(|refusal| refusal.code);
            let want = if may { Ok(()) } else { Err(crate::Code::TierRequired) };
            assert_eq!(told(Tier::Standard), want, "{before:?} {after:?}");
            assert_eq!(told(Tier::Enterprise), Ok(()));
        }
    }

    #[test]
    fn a_list_covers_what_lies_in_its_ranges_together() {
        let halves = list(&["10.0.0.0/9", "10.128.0.0/9"]);
        assert!(halves.covers(&list(&["10.0.0.0/8", "10.1.2.3"])));
        assert!(!halves.covers(&list(&["10.0.0.0/7"])) && !halves.covers(&Allowlist::default()));
        assert!(Allowlist::default().covers(&halves) && Allowlist::default().covers(&Allowlist::default()));
    }

    fn some_net() -> impl Strategy<Value = String> {
        // Few different bits, so that ranges meet.
        (0_u8..3, 0_u8..4, 8_u8..=32).prop_map(|(a, b, bits)| {
            let net = Ipv4Net::new(std::net::Ipv4Addr::new(10 + a, b << 6, 0, b), bits).expect("a prefix").trunc();
            net.to_string()
        })
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(entries in prop::collection::vec(some_net(), 0..8)) {
            let one = Allowlist::parse(&entries, "").expect("nets");
            prop_assert_eq!(Allowlist::parse(&one.entries(), ""), Ok(one.clone()));
            let json = serde_json::to_string(&one).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Allowlist>(&json).expect("read back"), one);
        }

        #[test]
        fn who_may_call_by_a_covered_list_may_call_by_the_covering_one(
            mine in prop::collection::vec(some_net(), 0..5),
            theirs in prop::collection::vec(some_net(), 0..5),
            address: [u8; 3],
        ) {
            let (mine, theirs) = (Allowlist::parse(&mine, "").expect("nets"), Allowlist::parse(&theirs, "").expect("nets"));
            let address = IpAddr::from([10 + address[0] % 4, address[1], address[2] % 2, address[2] % 8]);
            if mine.covers(&theirs) && theirs.contains(address) {
                prop_assert!(mine.contains(address));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", bits: u8, address: [u16; 8]) {
            let _ = Allowlist::parse(std::slice::from_ref(&text), "");
            let v6 = std::net::Ipv6Addr::from(address);
            let _ = Allowlist::parse(&[format!("{v6}/{bits}"), format!("{text}/{bits}")], "");
        }
    }
}

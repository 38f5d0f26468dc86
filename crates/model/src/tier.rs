//! The tiers, and what each allows: the one table that the code reads and that the book prints.

use crate::word::words;
use crate::{Code, Problem};

words! {
    /// The tenant's subscription. Later ones include earlier ones.
    Tier "a tier" {
        /// The signing room; no API.
        Free "free";
        /// The API.
        Standard "standard";
        /// IP allowlists too.
        Enterprise "enterprise";
    }
}

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident $word:literal $tier:ident $text:literal;)*) => {
        /// What a tier may allow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature { $($(#[$doc])* $name,)* }

        impl Feature {
            /// All of them, in the table's order.
            pub const ALL: &'static [Feature] = &[$(Feature::$name,)*];

            /// Its name in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Feature::$name => $word,)* }
            }

            /// The lowest tier that allows it.
            pub const fn tier(self) -> Tier {
                match self { $(Feature::$name => Tier::$tier,)* }
            }

            /// What it is, for people.
            pub const fn text(self) -> &'static str {
                match self { $(Feature::$name => $text,)* }
            }
        }
    };
}

features! {
    /// Recipients.
    SigningRoom "signing_room" Free "recipients read, sign and download what was sent";
    /// People.
    Users "users" Free "users are invited, and have roles";
    /// Programs.
    Api "api" Standard "API keys are generated, and programs call with them";
    /// From where programs call.
    Allowlists "allowlists" Enterprise "a key and the tenant say from which addresses calls may come";
}

impl Tier {
    /// The lowest tier with an API.
    pub const API: Tier = Feature::Api.tier();
    /// The lowest tier with IP allowlists.
    pub const ALLOWLISTS: Tier = Feature::Allowlists.tier();

    /// Whether it allows `feature`.
    pub fn allows(self, feature: Feature) -> bool {
        self >= feature.tier()
    }

    /// Refuses a tier below `needed`; `what` begins the sentence: "The API".
    pub fn require(self, needed: Tier, what: &str) -> Result<(), Problem> {
        if self >= needed {
            return Ok(());
        }
        let detail = format!("{what} needs the tier {needed} or above; this tenant's tier is {self}.");
        Err(Problem::new(Code::TierRequired, detail))
    }
}

/// The table as the book has it.
pub fn table() -> String {
    let head: String = Tier::ALL.iter().map(|tier| format!(" `{tier}` |")).collect();
    let rule: String = Tier::ALL.iter().map(|_| "---|").collect();
    let row = |feature: &Feature| {
        let cells: String = Tier::ALL.iter().map(|tier| if tier.allows(*feature) { " yes |" } else { " |" }).collect();
        format!("| `{}`: {} |{cells}\n", feature.as_str(), feature.text())
    };
    format!("| |{head}\n|---|{rule}\n{}", Feature::ALL.iter().map(row).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_needs_standard_and_allowlists_need_enterprise() {
        for (tier, api, allowlists) in
            [(Tier::Free, false, false), (Tier::Standard, true, false), (Tier::Enterprise, true, true)]
        {
            assert_eq!(tier.require(Tier::API, "The API").is_ok(), api, "{tier}");
            assert_eq!(tier.require(Tier::ALLOWLISTS, "An IP allowlist").is_ok(), allowlists, "{tier}");
            assert_eq!((tier.allows(Feature::Api), tier.allows(Feature::Allowlists)), (api, allowlists), "{tier}");
        }
        let refusal = Tier::Free.require(Tier::API, "The API").expect_err("free has no API");
        assert_eq!(refusal.code, Code::TierRequired);
        assert_eq!(refusal.detail, "The API needs the tier standard or above; this tenant's tier is free.");
    }

    #[test]
    fn the_book_has_this_table() {
        let page = include_str!("../../../docs/reference/tiers.md");
        assert!(page.contains(&table()), "docs/reference/tiers.md needs this table:\n{}", table());
    }
}

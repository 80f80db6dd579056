//! How a value of a call is drawn.

use serde::{Deserialize, Serialize};

/// How a field is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text, number or truth value as it is.
    #[default]
    Plain,
    /// An integer in minor units of the display's currency.
    Money,
    /// A time of RFC 3339, or a date.
    Time,
    /// An account: an IBAN in groups of four.
    Account,
    /// Text with its line breaks.
    Text,
    /// A list: its first members, and how many follow.
    List,
    /// An address. It is never clickable.
    Link,
    /// A country's code of two letters, with its name.
    Country,
    /// A time by which something is due or ends. One that has passed is marked.
    Due,
    /// A whole number in groups of three.
    Number,
    /// A digest. Its middle is folded.
    Digest,
}

//! `countersign list …`.

use super::PoliciesOf;
use clap::{Args, Subcommand};

/// Arguments of `list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(subcommand)]
    pub command: ListCommand,
}

/// Commands of `list`.
#[derive(Subcommand, Debug)]
pub enum ListCommand {
    /// Show the lists of the policies in force, or the items of one of them
    #[command(after_help = "\
Version 0 means: its items are those of the bundle in force.

Examples:
  countersign list show --tenant acme --api-key-file author.key
  countersign list show --tenant acme --api-key-file author.key known-hosts
  countersign list show --tenant acme --api-key-file author.key --json known-hosts")]
    Show {
        #[command(flatten)]
        of: PoliciesOf,
        /// The list; all of them, if it is left out
        name: Option<String>,
    },
    /// Ask people to add items to a list: they count once exactly this is approved
    #[command(after_help = "\
The key needs the role author, and belongs to one person, who never reviews what that person proposed. The rules in
force say who is asked: a rule for the tool countersign, action list.change. If another change of the list takes effect
first, this one does not any more: ask again.

Example:
  countersign list add --tenant acme --api-key-file author.key --comment 'Ticket 4711' known-hosts api.example.eu")]
    Add {
        #[command(flatten)]
        change: ChangeList,
    },
    /// Ask people to remove items from a list: they count until exactly this is approved
    #[command(after_help = "\
Who may ask, and who is asked: as for `countersign list add`.

Example:
  countersign list remove --tenant acme --api-key-file author.key --comment 'Contract ended' --wait known-hosts api.example.eu")]
    Remove {
        #[command(flatten)]
        change: ChangeList,
    },
}

/// A change of items.
#[derive(Args, Debug)]
pub struct ChangeList {
    #[command(flatten)]
    pub of: PoliciesOf,
    /// The list
    pub name: String,
    /// The items, at most 200
    #[arg(required = true, value_name = "ITEM")]
    pub items: Vec<String>,
    /// Why, for reviewers
    #[arg(long, value_name = "TEXT")]
    pub comment: String,
    /// Wait until people decided, and it took effect
    #[arg(long)]
    pub wait: bool,
}

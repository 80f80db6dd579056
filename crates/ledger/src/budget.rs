//! Budgets: what decisions of ours reserve, and the sums that follow from the entries (P18).
//!
//! A decision asks for its reservations in plain members. Posting gives them, or voids the decision. A report settles a
//! reservation, the end of an approval releases it, and after its deadline it counts as spent. Pure: everything follows
//! from earlier entries. The policy language is not known here.

mod account;
mod asked;
mod rows;
mod said;

pub use account::{Account, Misfit, Notice};
pub use asked::{
    ASKED_MAX, Asked, Asking, Booked, REPORT_WITHIN_SECONDS_MAX, Unit, grown, is_currency,
    millionths,
};
pub use rows::{Open, Reservation, Row, Window, reservation_key, row_key};
pub use said::{Report, Turn};

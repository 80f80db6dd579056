//! The account: sums of each budget in its windows, and what is still open.
//!
//! A sum counts from the moment at which it is reserved. So a deadline that passes changes no sum: it only ends the time
//! in which a report may make it smaller.

use super::{
    asked::{Asked, Asking, Booked, Unit, grown},
    rows::{Part, Queue, Reservation, Row, Waiting, Window, place_key, reservation_key},
    said::{Report, Turn},
};
use crate::{
    ident::Ident,
    store::{self, Changes, Family, LogNumber, Read as _},
    time::Nanos,
};
use serde::Serialize;
use serde_json::json;

/// Most reservations that are forgotten with one decision, once their deadlines have passed.
const FORGOTTEN_AT_ONCE: u64 = 4;
/// Key of the queue.
const QUEUE: &[u8] = b"w";

/// Why what a decision asks for does not fit at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The journal's time is in another window.
    Window,
    /// What is left is too little; or it is enough, where the decision says that it is not.
    Sum,
}

/// What posting says beside a decision, once in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Budgets that reached what they warn at.
    pub warned: Vec<serde_json::Value>,
    /// Budgets for which a call did not fit.
    pub exceeded: Vec<serde_json::Value>,
}

/// The account of one log.
pub struct Account<'c, 's> {
    changes: &'c mut Changes<'s>,
    number: LogNumber,
}

impl<'c, 's> Account<'c, 's> {
    /// The account in these rows.
    pub fn new(changes: &'c mut Changes<'s>, number: LogNumber) -> Self {
        Self { changes, number }
    }

    fn get<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, store::Error> {
        let row = self.changes.get(Family::Budgets, &self.number.key(key))?;
        row.map(|row| store::read_json(&row, "budgets")).transpose()
    }

    fn put<T: Serialize>(&mut self, key: &[u8], value: &T) {
        self.changes.put(Family::Budgets, self.number.key(key), store::to_json(value));
    }

    fn delete(&mut self, key: &[u8]) {
        self.changes.delete(Family::Budgets, self.number.key(key));
    }

    /// Whether what is asked for fits, where the journal's time is `time`.
    pub fn judge(&self, asking: &Asking, time: Nanos) -> Result<Option<Misfit>, store::Error> {
        for asked in &asking.asked {
            let (from, to) = (asked.from, asked.to);
            let row: Option<Row> = self.get(&asked.row())?;
            let dropped = row.as_ref().is_some_and(|row| row.may_have_dropped(from, to));
            if !(from..to).contains(&time) || dropped {
                return Ok(Some(Misfit::Window));
            }
            let counted = row.map_or(0, |row| row.counted((from, to)));
            let fits = counted.checked_add(asked.sum).is_some_and(|sum| sum <= asked.max);
            if fits != (asked.booked == Booked::Within) {
                return Ok(Some(Misfit::Sum));
            }
        }
        Ok(None)
    }

    /// Books what the decision at `index` asks for. `approval`: the one that it opens.
    pub fn book(
        &mut self,
        asking: &Asking,
        (index, time): (u64, Nanos),
        (producer, approval): (&str, Option<&Ident>),
    ) -> Result<Notice, store::Error> {
        let mut notice = Notice::default();
        let mut parts = Vec::new();
        for asked in &asking.asked {
            self.book_one(asked, time, &mut notice)?;
            if asked.booked == Booked::Refused {
                continue;
            }
            let Asked { id, key, unit, currency, from, to, sum, .. } = asked.clone();
            let over = asked.booked == Booked::Over;
            parts.push(Part { id, key, unit, currency, from, to, sum, over });
        }
        if !parts.is_empty() {
            let report_within = asking.report_within;
            let producer = producer.to_owned();
            let reservation = Reservation { producer, parts, report_within, deadline: None };
            match approval {
                Some(id) => {
                    self.put(&reservation_key(index), &reservation);
                    self.put(&approval_key(id), &index);
                }
                None => self.wait(index, reservation, time)?,
            }
        }
        self.forget(time)?;
        Ok(notice)
    }

    fn book_one(
        &mut self,
        asked: &Asked,
        time: Nanos,
        notice: &mut Notice,
    ) -> Result<(), store::Error> {
        let key = asked.row();
        let mut row = self.get::<Row>(&key)?.unwrap_or_else(|| Row {
            id: asked.id.clone(),
            key: asked.key.clone(),
            unit: asked.unit,
            currency: asked.currency.clone(),
            windows: Vec::new(),
        });
        let carried = row.carried((asked.from, asked.to));
        let window = row.window_of(asked);
        window.max = asked.max;
        match asked.booked {
            Booked::Within => window.within = grown(window.within, asked.sum),
            // Of these two, sums above what JSON counts stay exact, so that what is released later leaves the rest.
            Booked::Over => window.over = window.over.saturating_add(asked.sum),
            Booked::Refused => {}
        }
        if asked.booked != Booked::Refused {
            window.last = window.last.max(Some(time));
        }
        let about = || {
            let mut about = json!({
                "id": asked.id, "unit": asked.unit.as_str(), "max": asked.max,
                "from": asked.from.to_string(), "to": asked.to.to_string(),
            });
            if let Some(key) = &asked.key {
                about["key"] = key.clone().into();
            }
            if let Some(currency) = &asked.currency {
                about["currency"] = currency.clone().into();
            }
            if carried > 0 {
                about["carried"] = carried.into();
            }
            about
        };
        if asked.booked != Booked::Within && !window.exceeded {
            window.exceeded = true;
            let mut about = about();
            about["within"] = window.within.into();
            notice.exceeded.push(about);
        }
        let counted = grown(window.counted(), carried);
        if asked.warn.is_some_and(|warn| counted >= warn) && !window.warned {
            window.warned = true;
            let mut about = about();
            about["within"] = window.within.into();
            notice.warned.push(about);
        }
        row.drop_old();
        self.put(&key, &row);
        Ok(())
    }

    /// A reservation waits for its report from now on.
    fn wait(
        &mut self,
        index: u64,
        mut reservation: Reservation,
        time: Nanos,
    ) -> Result<(), store::Error> {
        let deadline = time.plus_seconds(reservation.report_within);
        reservation.deadline = Some(deadline);
        self.put(&reservation_key(index), &reservation);
        let Queue { first, end } = self.get(QUEUE)?.unwrap_or(Queue { first: 0, end: 0 });
        self.put(&place_key(end), &Waiting { index, deadline });
        self.put(QUEUE, &Queue { first, end: end + 1 });
        Ok(())
    }

    /// Forgets reservations that no report may change any more. Their sums stay.
    fn forget(&mut self, time: Nanos) -> Result<(), store::Error> {
        let Some(Queue { first, end }) = self.get(QUEUE)? else { return Ok(()) };
        let mut left = first;
        while left < end.min(first + FORGOTTEN_AT_ONCE) {
            let place = place_key(left);
            let Some(Waiting { index, deadline }) = self.get(&place)? else { break };
            if time <= deadline {
                break;
            }
            self.delete(&place);
            self.delete(&reservation_key(index));
            left += 1;
        }
        if left > first {
            self.put(QUEUE, &Queue { first: left, end });
        }
        Ok(())
    }

    /// Settles what the gateway `producer` reports. The first report in time counts.
    pub fn report(
        &mut self,
        report: &Report,
        producer: &str,
        time: Nanos,
    ) -> Result<(), store::Error> {
        let key = reservation_key(report.index);
        let Some(reservation) = self.get::<Reservation>(&key)? else { return Ok(()) };
        let in_time = reservation.deadline.is_some_and(|deadline| time <= deadline);
        if !in_time || reservation.producer != producer {
            return Ok(());
        }
        self.delete(&key);
        for part in &reservation.parts {
            let cost = report.cost.as_ref().filter(|(_, currency)| {
                part.unit == Unit::Cost && part.currency.as_ref() == Some(currency)
            });
            if let Some((cost, _)) = cost {
                self.settle(part, *cost)?;
            }
        }
        Ok(())
    }

    /// Books `spent` in place of what was reserved.
    fn settle(&mut self, part: &Part, spent: u64) -> Result<(), store::Error> {
        let key = part.row();
        let Some(mut row) = self.get::<Row>(&key)? else { return Ok(()) };
        let is_of = |window: &&mut Window| window.is(part.from, part.to);
        let Some(window) = row.windows.iter_mut().find(is_of) else { return Ok(()) };
        let kept = if part.over { &mut window.over } else { &mut window.within };
        *kept = kept.saturating_sub(part.sum.saturating_sub(spent));
        window.excess = window.excess.saturating_add(spent.saturating_sub(part.sum));
        self.put(&key, &row);
        Ok(())
    }

    /// Something happened to an approval.
    pub fn turn(&mut self, id: &Ident, turn: Turn, time: Nanos) -> Result<(), store::Error> {
        let at = approval_key(id);
        let Some(index) = self.get::<u64>(&at)? else { return Ok(()) };
        let key = reservation_key(index);
        let reservation = self.get::<Reservation>(&key)?;
        match turn {
            Turn::Redeemed => {
                if let Some(reservation) = reservation.filter(|one| one.deadline.is_none()) {
                    self.wait(index, reservation, time)?;
                }
            }
            Turn::Reported => self.delete(&at),
            Turn::Ends => {
                self.delete(&at);
                let Some(reservation) = reservation else { return Ok(()) };
                if reservation.deadline.is_some_and(|deadline| time > deadline) {
                    return Ok(());
                }
                for part in &reservation.parts {
                    self.settle(part, 0)?;
                }
                self.delete(&key);
            }
        }
        Ok(())
    }
}

fn approval_key(id: &Ident) -> Vec<u8> {
    [&b"a"[..], id.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests;

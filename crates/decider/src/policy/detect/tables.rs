//! Tables in a text: lines with the same number of the same separators. The first lines name the columns.

/// Separators of columns.
const SEPARATORS: [u8; 4] = *b"|\t,;";
/// Longer lines are no rows, in bytes.
const LINE_BYTES_MAX: usize = 4_096;
/// Bytes that may stand between a separator and a value.
const BEFORE_MAX: usize = 4;

/// A line that has separators.
struct Row {
    start: usize,
    end: usize,
    separator: u8,
    count: usize,
    /// Its table's first row.
    first: usize,
}

/// The rows of a text, in order.
#[derive(Default)]
pub(super) struct Tables(Vec<Row>);

impl Tables {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        let mut start = 0;
        for line in text.split(|byte| *byte == b'\n') {
            let end = start + line.len();
            let counted = SEPARATORS.iter().map(|s| (count(line, *s), *s));
            let found = counted.into_iter().find(|(count, _)| *count > 0);
            if let Some((count, separator)) = found.filter(|_| line.len() <= LINE_BYTES_MAX) {
                let same = |row: &&Row| {
                    row.end + 1 == start && row.separator == separator && row.count == count
                };
                let first = rows.last().filter(same).map_or(rows.len(), |row| row.first);
                rows.push(Row { start, end, separator, count, first });
            }
            start = end + 1;
        }
        Self(rows)
    }

    /// The heads of the column in which a value begins at `at`: in the first two rows of its table.
    pub(super) fn heads<'t>(&self, text: &'t [u8], at: usize) -> impl Iterator<Item = &'t [u8]> {
        let nth = self.0.partition_point(|row| row.end < at);
        let row = self.0.get(nth).filter(|row| row.start <= at);
        let found = row.and_then(|row| {
            let before = &text[row.start..at];
            let gap = before.iter().rev().take_while(|byte| **byte != row.separator).count();
            let column = count(before, row.separator);
            (gap <= BEFORE_MAX).then_some((row, column))
        });
        let heads = found.into_iter().flat_map(move |(row, column)| {
            (row.first..nth.min(row.first + 2)).map(move |head| (head, column))
        });
        let cells: Vec<&[u8]> = heads
            .filter_map(|(head, column)| {
                let Row { start, end, separator, .. } = self.0[head];
                text[start..end].split(|byte| *byte == separator).nth(column)
            })
            .collect();
        cells.into_iter()
    }
}

fn count(bytes: &[u8], separator: u8) -> usize {
    bytes.split(|byte| *byte == separator).count() - 1
}

//! The text of a settlement file, cut into cells.
//!
//! Decoded text → **records** → the columns of `settlement_file`.
//!
//! A cell is `="value"` (so that spreadsheets keep leading zeros), `"value"`, `=value` or `value`; inside quotes a quote is
//! doubled, and commas and line ends are text. Lines end with LF or CR LF; blank ones are none.
//! Invariant: every character is part of a cell or of the framing; a quote anywhere else is an error that names its place.
//! Not here: what a cell means.

use std::iter::Peekable;
use std::str::Chars;

use super::SettlementError;

/// One record, and the line on which it begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) line: usize,
    pub(super) cells: Vec<String>,
}

/// What ends a cell.
enum End {
    Cell,
    Record,
    Text,
}

/// Cuts a text into its records.
pub(super) fn records(text: &str) -> Result<Vec<Record>, SettlementError> {
    let mut reader = Reader {
        rest: text.chars().peekable(),
        line: 1,
    };
    let mut records = Vec::new();
    loop {
        let (record, end) = reader.record()?;
        let blank = record.cells.iter().all(|cell| cell.trim().is_empty());
        if !blank {
            records.push(record);
        }
        if matches!(end, End::Text) {
            return Ok(records);
        }
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn record(&mut self) -> Result<(Record, End), SettlementError> {
        let mut record = Record {
            line: self.line,
            cells: Vec::new(),
        };
        loop {
            let column = record.cells.len().saturating_add(1);
            let misquoted = SettlementError::Quotes {
                line: record.line,
                column,
            };
            let (cell, end) = self.cell().ok_or(misquoted)?;
            record.cells.push(cell);
            if !matches!(end, End::Cell) {
                return Ok((record, end));
            }
        }
    }

    fn cell(&mut self) -> Option<(String, End)> {
        self.rest.next_if_eq(&'=');
        if self.rest.next_if_eq(&'"').is_some() {
            let cell = self.quoted()?;
            self.rest.next_if_eq(&'\r');
            return Some((cell, self.end()?));
        }
        let mut cell = String::new();
        loop {
            match self.rest.peek() {
                None | Some(',' | '\n') => break,
                Some('"') => return None,
                Some(_) => cell.extend(self.rest.next()),
            }
        }
        if cell.ends_with('\r') {
            cell.pop();
        }
        Some((cell, self.end()?))
    }

    /// Up to the closing quote; `None` where there is none.
    fn quoted(&mut self) -> Option<String> {
        let mut cell = String::new();
        loop {
            match self.rest.next()? {
                '"' if self.rest.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' => return Some(cell),
                character => {
                    self.count(character);
                    cell.push(character);
                }
            }
        }
    }

    fn end(&mut self) -> Option<End> {
        match self.rest.next() {
            Some(',') => Some(End::Cell),
            Some('\n') => {
                self.count('\n');
                Some(End::Record)
            }
            Some(_) => None,
            None => Some(End::Text),
        }
    }

    fn count(&mut self, character: char) {
        if character == '\n' {
            self.line = self.line.saturating_add(1);
        }
    }
}

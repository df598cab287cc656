//! Reading settings by name, with every fault named at once.
//!
//! Edge (Worker bindings) and origin (environment) both hand a lookup function to the parsers built on this,
//! so that the names and rules of a setting are written down once.
//!
//! Invariant: a fault names the setting and what is wrong with it, never its value (it may be a secret).
//! Not here: reading the environment itself (`std::env` is origin's `config.rs`, `Env` is the edge's).

use std::fmt;

use crate::secret::{Rotating, Secret};

/// Finds a setting by name; an empty text counts as absent.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A setting that is missing or not usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting's name.
    pub setting: String,
    /// What is wrong, for the person who configures it.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.setting, self.reason)
    }
}

/// Collects settings and faults; `finish` gives either all or every fault.
pub struct Reader<'a> {
    lookup: Lookup<'a>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// Starts reading.
    #[must_use]
    pub fn new(lookup: Lookup<'a>) -> Self {
        Self {
            lookup,
            faults: Vec::new(),
        }
    }

    /// A setting that may be absent. Surrounding white space is cut off (a trailing newline in a secret is a
    /// classic: PAYUNi's own SDK hashes it and is refused, reference A.1).
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    /// A setting that must be there; its absence is a fault.
    pub fn required(&mut self, name: &str) -> Option<String> {
        let found = self.optional(name);
        if found.is_none() {
            self.fault(name, "is not set");
        }
        found
    }

    /// A setting of a type, with a default for absence; an unreadable one is a fault.
    pub fn parsed_or<T: std::str::FromStr>(&mut self, name: &str, default: T, rule: &str) -> T {
        match self.optional(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.fault(name, rule);
                default
            }
        }
    }

    /// A secret with its `<NAME>_PREVIOUS`, both of a fixed length in bytes where one is given.
    pub fn rotating(&mut self, name: &str, length: Option<usize>) -> Option<Rotating<Secret>> {
        let previous_name = format!("{name}_PREVIOUS");
        let current = self.required(name);
        let previous = self.optional(&previous_name);
        for (setting, value) in [(name, &current), (previous_name.as_str(), &previous)] {
            if let (Some(value), Some(length)) = (value, length)
                && value.len() != length
            {
                self.fault(setting, &format!("must be {length} bytes, has {}", value.len()));
            }
        }
        current.map(|current| Rotating {
            current: Secret::new(current),
            previous: previous.map(Secret::new),
        })
    }

    /// Notes a fault.
    pub fn fault(&mut self, setting: &str, reason: &str) {
        self.faults.push(Fault {
            setting: setting.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// The value if there was no fault, otherwise every fault.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Fault>> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(self.faults),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reader;

    #[test]
    fn op_1_every_fault_is_named_at_once_and_no_value_shown() {
        let lookup = |name: &str| match name {
            "KEY" => Some("tooshort\n".to_owned()),
            "PORT" => Some("many".to_owned()),
            _ => None,
        };
        let mut reader = Reader::new(&lookup);
        let key = reader.rotating("KEY", Some(16));
        let port = reader.parsed_or("PORT", 80_u16, "must be a port number");
        let url = reader.required("URL");
        let faults = reader.finish(key.zip(url).map(|_| port)).unwrap_err();
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "KEY: must be 16 bytes, has 8",
                "PORT: must be a port number",
                "URL: is not set"
            ]
        );
    }
}

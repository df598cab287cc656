//! A caller's own JSON, any object, read strictly.
//!
//! body → **[`StrictObject`]** → `token_deduction_records.metadata`, `article_jobs.input` (jsonb).
//!
//! Invariants: no key twice, at any depth (parsers differ in which one they keep); no U+0000, which JSON has and jsonb
//! does not: it would fail in the database, in a transaction that others share. Depth is `serde_json`'s limit of
//! 128, size that of the body. Failure: the body cannot be read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StrictObject(pub(super) Value);

impl<'de> Deserialize<'de> for StrictObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Strict(value) = Strict::deserialize(deserializer)?;
        if value.is_object() {
            Ok(Self(value))
        } else {
            Err(D::Error::custom("an object is expected"))
        }
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without duplicate keys and without U+0000")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        checked(value).map(|text| Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            checked::<A::Error>(&key)?;
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("a key occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

fn checked<E: Error>(text: &str) -> Result<&str, E> {
    if text.contains('\0') {
        return Err(E::custom("U+0000 cannot be kept"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::StrictObject;

    #[test]
    fn an_object_is_one_that_jsonb_can_keep_as_it_is() {
        for (text, taken) in [
            ("{}", true),
            (r#"{"a":{"b":[1,-2,2.5,"x",null,true,{"c":"\u6587"}]}}"#, true),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"a":{"b":1,"b":2}}"#, false),
            (r#"{"a":[{"b":1,"b":2}]}"#, false),
            (r#"{"a":"\u0000"}"#, false),
            (r#"{"a\u0000":1}"#, false),
            (r#"{"a":1e400}"#, false),
            ("[]", false),
            (r#""text""#, false),
            ("null", false),
        ] {
            let read = serde_json::from_str::<StrictObject>(text);
            assert_eq!(read.is_ok(), taken, "{text}");
            if let Ok(StrictObject(value)) = read {
                assert_eq!(value, serde_json::from_str::<serde_json::Value>(text).unwrap());
            }
        }
    }
}

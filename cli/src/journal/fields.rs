//! `--fields`: the layout of plain events, so that they are shown as numbers.

use crate::journal::rows::{Encoding, Value};
use std::str::FromStr;

const ACCEPTED: &str = "NAME:TYPE,.. with types u8 u16 u32 u64 i8 i16 i32 i64 f32 f64, each with `be` behind it if the most \
     significant byte comes first, textN, bytesN, skipN (N bytes), and `bytes` or `text` for all that is left";

/// Fields one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    kind: Kind,
    /// `None`: all that is left.
    bytes: Option<usize>,
    big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unsigned,
    Signed,
    Float,
    /// UTF-8; zeros at its end are not shown.
    Text,
    /// As `--payload` says.
    Bytes,
    Skip,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<Field> = text.split(',').map(field).collect::<Result<_, _>>()?;
        for (index, field) in fields.iter().enumerate() {
            if field.bytes.is_none() && index + 1 < fields.len() {
                return Err(format!(
                    "field `{}` leaves nothing for those behind it",
                    field.name
                ));
            }
            let is_shown = field.kind != Kind::Skip;
            let before = || {
                fields[..index]
                    .iter()
                    .filter(|field| field.kind != Kind::Skip)
            };
            if is_shown && before().any(|before| before.name == field.name) {
                return Err(format!("two fields have the name `{}`", field.name));
            }
            if is_shown && ["sequence", "time"].contains(&&*field.name) {
                return Err(format!("`{}` is the name of a column already", field.name));
            }
        }
        Ok(Self { fields })
    }
}

fn field(text: &str) -> Result<Field, String> {
    let wrong = || format!("field `{text}`: accepted is {ACCEPTED}");
    let (name, kind) = text.trim().split_once(':').ok_or_else(wrong)?;
    if name.is_empty() {
        return Err(wrong());
    }
    let (number, big_endian) = match kind.strip_suffix("be") {
        Some(number) => (number, true),
        None => (kind, false),
    };
    let fixed = |kind: Kind, sizes: &[usize], bits: &str| {
        let size = sizes.iter().find(|size| (*size * 8).to_string() == bits);
        size.map(|size| (kind, Some(*size), big_endian))
    };
    let long = |kind: Kind, bytes: &str, may_be_open: bool| match bytes {
        "" => may_be_open.then_some((kind, None, false)),
        // `+5` and `007` are numbers too
        _ => (bytes.parse().ok())
            .filter(|number: &usize| *number > 0 && number.to_string() == bytes)
            .map(|number| (kind, Some(number), false)),
    };
    let parsed = if let Some(bits) = number.strip_prefix('u') {
        fixed(Kind::Unsigned, &[1, 2, 4, 8], bits)
    } else if let Some(bits) = number.strip_prefix('i') {
        fixed(Kind::Signed, &[1, 2, 4, 8], bits)
    } else if let Some(bits) = number.strip_prefix('f') {
        fixed(Kind::Float, &[4, 8], bits)
    } else if let Some(bytes) = kind.strip_prefix("text") {
        long(Kind::Text, bytes, true)
    } else if let Some(bytes) = kind.strip_prefix("bytes") {
        long(Kind::Bytes, bytes, true)
    } else if let Some(bytes) = kind.strip_prefix("skip") {
        long(Kind::Skip, bytes, false)
    } else {
        None
    };
    let (kind, bytes, big_endian) = parsed.ok_or_else(wrong)?;
    Ok(Field {
        name: name.to_owned(),
        kind,
        bytes,
        big_endian,
    })
}

impl Layout {
    /// The columns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let shown = self.fields.iter().filter(|field| field.kind != Kind::Skip);
        shown.map(|field| &*field.name)
    }

    /// How many bytes it takes, and whether there may be more.
    fn length(&self) -> (usize, bool) {
        let bytes = self.fields.iter().filter_map(|field| field.bytes);
        let sum = bytes.fold(0, usize::saturating_add);
        (sum, self.fields.iter().any(|field| field.bytes.is_none()))
    }

    /// What is wrong with it for a payload of this length.
    pub(crate) fn check(&self, length: usize) -> Result<(), String> {
        let (bytes, is_open) = self.length();
        if length == bytes || (is_open && length > bytes) {
            return Ok(());
        }
        let at_least = if is_open { "at least " } else { "" };
        Err(format!(
            "the fields take {at_least}{bytes} bytes, the event has {length}: `NAME:skipN` stands for bytes that are not to be shown"
        ))
    }

    /// The values of a payload, one for each name.
    pub(crate) fn values(
        &self,
        payload: &[u8],
        encoding: Encoding,
        values: &mut Vec<Value>,
    ) -> Result<(), String> {
        self.check(payload.len())?;
        let mut rest = payload;
        for field in &self.fields {
            let (bytes, after) = rest.split_at(field.bytes.unwrap_or(rest.len()));
            rest = after;
            let value = match field.kind {
                Kind::Skip => continue,
                Kind::Unsigned => Value::Unsigned(number(bytes, field.big_endian)),
                Kind::Signed => {
                    let unused = 64 - 8 * bytes.len() as u32;
                    let number = number(bytes, field.big_endian) << unused;
                    Value::Signed(number as i64 >> unused)
                }
                Kind::Float if bytes.len() == 4 => {
                    Value::Single(f32::from_bits(number(bytes, field.big_endian) as u32))
                }
                Kind::Float => Value::Double(f64::from_bits(number(bytes, field.big_endian))),
                Kind::Text => {
                    let end = bytes
                        .iter()
                        .rposition(|byte| *byte != 0)
                        .map_or(0, |at| at + 1);
                    Encoding::Utf8
                        .value(&bytes[..end])
                        .map_err(|error| format!("field `{}`: {error}", field.name))?
                }
                Kind::Bytes => encoding
                    .value(bytes)
                    .map_err(|error| format!("field `{}`: {error}", field.name))?,
            };
            values.push(value);
        }
        Ok(())
    }
}

/// Of at most eight bytes.
fn number(bytes: &[u8], big_endian: bool) -> u64 {
    let fold = |number, byte: &u8| number << 8 | u64::from(*byte);
    match big_endian {
        true => bytes.iter().fold(0, fold),
        false => bytes.iter().rev().fold(0, fold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(layout: &str, payload: &[u8]) -> Result<Vec<Value>, String> {
        let layout: Layout = layout.parse()?;
        let mut values = Vec::new();
        layout.values(payload, Encoding::Hex, &mut values)?;
        assert_eq!(layout.names().count(), values.len());
        Ok(values)
    }

    #[test]
    fn numbers_of_every_size_and_order() {
        for (kind, bytes, value) in [
            ("u8", &[200][..], Value::Unsigned(200)),
            ("i8", &[200], Value::Signed(-56)),
            ("u16", &[1, 2], Value::Unsigned(0x201)),
            ("u16be", &[1, 2], Value::Unsigned(0x102)),
            ("i32", &(-7_i32).to_le_bytes(), Value::Signed(-7)),
            ("i64be", &i64::MIN.to_be_bytes(), Value::Signed(i64::MIN)),
            ("u64", &u64::MAX.to_le_bytes(), Value::Unsigned(u64::MAX)),
            ("f32", &1.5_f32.to_le_bytes(), Value::Single(1.5)),
            ("f64be", &(-0.1_f64).to_be_bytes(), Value::Double(-0.1)),
            ("text4", b"ab\0\0", Value::Text("ab".into())),
            ("bytes2", &[0, 255], Value::Text("00ff".into())),
            ("bytes", &[], Value::Text(String::new())),
            ("text", "é".as_bytes(), Value::Text("é".into())),
        ] {
            assert_eq!(
                values(&format!("a:{kind}"), bytes),
                Ok(vec![value]),
                "{kind}"
            );
        }
        let several = values("id:u16, _:skip2,_:skip1,rest:bytes", &[1, 0, 9, 9, 9, 7, 8]);
        assert_eq!(
            several,
            Ok(vec![Value::Unsigned(1), Value::Text("0708".into())])
        );
    }

    #[test]
    fn what_is_no_layout_is_refused_with_what_is() {
        for text in [
            "",
            "a",
            "a:",
            ":u8",
            "a:u7",
            "a:u128",
            "a:u08",
            "a:f16",
            "a:text0",
            "a:skip",
            "a:bytes+1",
            "a:u8,,b:u8",
        ] {
            let error = text.parse::<Layout>().expect_err(text);
            assert!(
                error.contains("u64 i8") && error.contains("field `"),
                "{text}: {error}"
            );
        }
        for text in ["a:u8,a:u16", "time:u64", "a:bytes,b:u8"] {
            assert!(text.parse::<Layout>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_payload_of_another_length_is_refused() {
        let error = values("a:u8", &[1, 2]).expect_err("two bytes");
        assert!(error.contains("take 1 bytes, the event has 2"), "{error}");
        assert!(values("a:u32,b:bytes", &[1, 2]).is_err());
        assert!(
            values("a:text", &[255])
                .expect_err("no text")
                .contains("UTF-8")
        );
    }
}

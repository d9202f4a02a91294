//! Reads the value tree that the caller builds from JSON (see `m2_text_ffi.h`).

use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Object, ObjectRepr, Value};

/// Deeper trees are refused, so that nothing that walks a value can exhaust the stack.
pub const MAX_DEPTH: usize = 128;

/// An integer that fits no machine word. It prints as its digits; arithmetic with it fails.
#[derive(Debug, PartialEq, Eq)]
pub struct BigInteger(pub String);

impl Object for BigInteger {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<std::cmp::Ordering> {
        let other = other.downcast_ref::<BigInteger>()?;
        Some(self.0.cmp(&other.0))
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], String> {
        if size > self.bytes.len() {
            return Err("value tree is cut short".into());
        }
        let (head, tail) = self.bytes.split_at(size);
        self.bytes = tail;
        Ok(head)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("take returns N bytes"))
    }

    fn count(&mut self) -> Result<usize, String> {
        Ok(u32::from_ne_bytes(self.take_array()?) as usize)
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let size = self.count()?;
        std::str::from_utf8(self.take(size)?).map_err(|_| "value tree holds bad UTF-8".into())
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        match self.take_array::<1>()?[0] {
            b'n' => Ok(Value::from(())),
            b't' => Ok(Value::from(true)),
            b'f' => Ok(Value::from(false)),
            b'i' => Ok(Value::from(i64::from_ne_bytes(self.take_array()?))),
            b'd' => Ok(Value::from(f64::from_ne_bytes(self.take_array()?))),
            b'b' => self.text().map(big_integer),
            b's' => Ok(Value::from(self.text()?)),
            b'[' => {
                let count = self.count()?;
                // Not reserved by `count`: that number is not trusted before its values are read.
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Ok(Value::from(values))
            }
            b'{' => {
                let count = self.count()?;
                let mut members = Vec::new();
                for _ in 0..count {
                    let key = Value::from(self.text()?);
                    members.push((key, self.value(depth + 1)?));
                }
                Ok(Value::from_pairs(members))
            }
            tag => Err(format!("value tree holds an unknown tag {tag}")),
        }
    }
}

fn big_integer(digits: &str) -> Value {
    if let Ok(value) = digits.parse::<i128>() {
        return Value::from(value);
    }
    Value::from_object(BigInteger(digits.to_owned()))
}

/// Reads exactly one value.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { bytes };
    let value = reader.value(0)?;
    if !reader.bytes.is_empty() {
        return Err("value tree has bytes left over".into());
    }
    Ok(value)
}

/// Builds trees for tests.
#[cfg(test)]
pub mod build {
    pub fn text(s: &str) -> Vec<u8> {
        let mut out = (s.len() as u32).to_ne_bytes().to_vec();
        out.extend_from_slice(s.as_bytes());
        out
    }
    pub fn string(s: &str) -> Vec<u8> {
        [b"s".to_vec(), text(s)].concat()
    }
    pub fn int(i: i64) -> Vec<u8> {
        [b"i".to_vec(), i.to_ne_bytes().to_vec()].concat()
    }
    pub fn double(d: f64) -> Vec<u8> {
        [b"d".to_vec(), d.to_ne_bytes().to_vec()].concat()
    }
    pub fn big(s: &str) -> Vec<u8> {
        [b"b".to_vec(), text(s)].concat()
    }
    pub fn list(items: &[Vec<u8>]) -> Vec<u8> {
        let count = (items.len() as u32).to_ne_bytes().to_vec();
        [b"[".to_vec(), count, items.concat()].concat()
    }
    pub fn map(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut out = b"{".to_vec();
        out.extend_from_slice(&(items.len() as u32).to_ne_bytes());
        for (key, value) in items {
            out.extend(text(key));
            out.extend_from_slice(value);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind() {
        let tree = build::map(&[
            (
                "z",
                build::list(&[b"n".to_vec(), b"t".to_vec(), b"f".to_vec()]),
            ),
            ("a", build::int(-5)),
            ("d", build::double(0.5)),
            ("b", build::big(&"9".repeat(50))),
            ("s", build::string("é")),
        ]);
        let value = read(&tree).unwrap();
        let keys: Vec<String> = value.try_iter().unwrap().map(|k| k.to_string()).collect();
        assert_eq!(keys, ["z", "a", "d", "b", "s"]);
        assert_eq!(value.get_attr("b").unwrap().to_string(), "9".repeat(50));
        assert_eq!(value.get_attr("a").unwrap(), Value::from(-5));
    }

    #[test]
    fn refuses_bad_trees() {
        for bad in [
            &b""[..],
            b"x",
            b"i123",
            b"s\xff\xff\xff\xff",
            b"[\xff\xff\xff\xff",
            b"nn",
            b"s\x01\x00\x00\x00\xff",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        let deep = [b'[', 1, 0, 0, 0].repeat(1_000_000);
        assert!(read(&deep).unwrap_err().contains("nested deeper"));
    }
}

//! Byte-level BPE tokenizers, read from a `tokenizer.json`.

use tokenizers::models::ModelWrapper;
use tokenizers::tokenizer::pre_tokenizer::{OffsetType, PreTokenizedString};
use tokenizers::tokenizer::{Model, NormalizedString, Normalizer, PreTokenizer};
use tokenizers::DecoderWrapper;

use crate::fast::FastEncoder;

/// Ids above this are refused: tables are indexed by id.
const MAX_ID: u32 = 1 << 22;

const ADDED: u8 = 1;
const SPECIAL: u8 = 2;

/// Strings of all ids, end to end; those of id `i` are `data[offsets[i]..offsets[i + 1]]`.
#[derive(Default)]
pub struct Strings {
    pub data: Vec<u8>,
    pub offsets: Vec<u32>,
}

impl Strings {
    fn push(&mut self, bytes: &[u8]) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.data.extend_from_slice(bytes);
        self.offsets.push(self.data.len() as u32);
    }
}

/// What the caller keeps of the vocabulary, by id.
#[derive(Default)]
pub struct Tables {
    pub bytes: Strings,
    pub strings: Strings,
    pub flags: Vec<u8>,
}

/// The parts of a tokenizer.json that are read a second time, beside the library.
#[derive(serde::Deserialize)]
pub struct Listing {
    #[serde(default)]
    pub added_tokens: Vec<ListedToken>,
    #[serde(default)]
    pub normalizer: serde_json::Value,
    #[serde(default)]
    pub pre_tokenizer: serde_json::Value,
}

#[derive(serde::Deserialize)]
pub struct ListedToken {
    pub id: u32,
    pub content: String,
    #[serde(default)]
    pub single_word: bool,
    #[serde(default)]
    pub lstrip: bool,
    #[serde(default)]
    pub rstrip: bool,
    #[serde(default = "yes")]
    pub normalized: bool,
}

fn yes() -> bool {
    true
}

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    fast: Option<FastEncoder>,
    tables: Tables,
}

/// The byte that each character of the byte-level alphabet stands for: printable Latin-1 stands
/// for itself, the 68 other bytes for U+0100 and on, in order.
fn byte_of(c: char) -> Option<u8> {
    let stands_for_itself = |b: u32| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let code = c as u32;
    if code < 256 {
        return stands_for_itself(code).then_some(code as u8);
    }
    (0..256u32)
        .filter(|&b| !stands_for_itself(b))
        .nth((code - 256) as usize)
        .map(|b| b as u8)
}

/// The character that each byte is spelled as.
pub fn byte_level_alphabet() -> Vec<char> {
    let mut alphabet = vec!['\0'; 256];
    for c in (0..512).filter_map(char::from_u32) {
        if let Some(byte) = byte_of(c) {
            alphabet[byte as usize] = c;
        }
    }
    alphabet
}

/// The text of a vocabulary entry as bytes; one that leaves the alphabet is its own text.
fn decode_bytes(token: &str, byte_by_code: &[Option<u8>]) -> Vec<u8> {
    token
        .chars()
        .map(|c| byte_by_code.get(c as usize).copied().flatten())
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| token.as_bytes().to_vec())
}

impl Tokenizer {
    pub fn load(json: &[u8]) -> Result<Self, String> {
        let mut inner =
            tokenizers::Tokenizer::from_bytes(json).map_err(|error| error.to_string())?;
        let ModelWrapper::BPE(model) = inner.get_model() else {
            return Err("\"model\" must be of type BPE".into());
        };
        if model.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err("\"model.dropout\" must be null: encoding is not to be random".into());
        }
        if !matches!(inner.get_decoder(), Some(DecoderWrapper::ByteLevel(_))) {
            return Err("\"decoder\" must be of type ByteLevel".into());
        }
        // A prompt is never cut or filled up by the tokenizer.
        inner
            .with_truncation(None)
            .map_err(|error| error.to_string())?;
        inner.with_padding(None);
        let tables = Self::build_tables(&inner)?;
        // The library numbers added tokens anew when their ids leave a gap. The model's rows do not
        // move with them, so such a file is refused.
        let listing: Listing = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        for token in &listing.added_tokens {
            let id = inner.token_to_id(&token.content);
            if id != Some(token.id) {
                return Err(format!(
                    "added token {:?} is listed with id {} but reads as {:?}",
                    token.content, token.id, id
                ));
            }
        }
        let fast = FastEncoder::new(&listing);
        Ok(Tokenizer {
            inner,
            fast,
            tables,
        })
    }

    fn build_tables(inner: &tokenizers::Tokenizer) -> Result<Tables, String> {
        let mut tokens: Vec<Option<String>> = Vec::new();
        for (token, id) in inner.get_vocab(true) {
            if id > MAX_ID {
                return Err(format!("token id {id} is over the limit of {MAX_ID}"));
            }
            if tokens.len() <= id as usize {
                tokens.resize(id as usize + 1, None);
            }
            tokens[id as usize] = Some(token);
        }
        let byte_by_code: Vec<Option<u8>> = (0..512)
            .map(|code| char::from_u32(code).and_then(byte_of))
            .collect();
        // Without a token for every byte, the encoder would drop text in silence.
        for (code, byte) in byte_by_code.iter().enumerate() {
            if let Some(byte) = byte {
                let spelling = char::from_u32(code as u32).expect("below 512").to_string();
                if inner.get_model().token_to_id(&spelling).is_none() {
                    return Err(format!("\"model.vocab\" has no token for byte {byte:#04x}"));
                }
            }
        }
        let added = inner.get_added_tokens_decoder();
        let mut tables = Tables::default();
        for (id, token) in tokens.iter().enumerate() {
            let token = token.as_deref().unwrap_or("");
            tables.strings.push(token.as_bytes());
            if let Some(added_token) = added.get(&(id as u32)) {
                tables.bytes.push(token.as_bytes());
                let special = if added_token.special { SPECIAL } else { 0 };
                tables.flags.push(ADDED | special);
            } else {
                tables.bytes.push(&decode_bytes(token, &byte_by_code));
                tables.flags.push(0);
            }
        }
        Ok(tables)
    }

    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    pub fn encode(&self, text: &str, parse_added: bool) -> Result<Vec<u32>, String> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(fast) = &self.fast {
            return fast.encode(text, parse_added, self.inner.get_model());
        }
        self.encode_by_library(text, parse_added)
    }

    /// The library's own pipeline, for forms that the fast encoder does not know.
    fn encode_by_library(&self, text: &str, parse_added: bool) -> Result<Vec<u32>, String> {
        let encoding = if parse_added {
            self.inner.encode_fast(text, false)
        } else {
            self.encode_plain(text)
        };
        Ok(encoding
            .map_err(|error| error.to_string())?
            .get_ids()
            .to_vec())
    }

    /// The tokenizer's own steps without the one that looks for added tokens.
    fn encode_plain(&self, text: &str) -> tokenizers::Result<tokenizers::Encoding> {
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            normalizer.normalize(&mut normalized)?;
        }
        let mut pieces = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        let model = self.inner.get_model();
        pieces.tokenize(|piece| model.tokenize(piece.get()))?;
        pieces.into_encoding(None, 0, OffsetType::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All bytes, "ab", and one added token of each sort.
    fn tiny() -> String {
        let mut vocab = Vec::new();
        for code in 0..512u32 {
            let c = char::from_u32(code).unwrap();
            if let Some(byte) = byte_of(c) {
                vocab.push(format!("{:?}: {}", c.to_string(), byte));
            }
        }
        vocab.push("\"ab\": 256".into());
        let added = |id: u32, content: &str, special: bool| {
            format!(
                r#"{{"id":{id},"content":"{content}","single_word":false,"lstrip":false,
                "rstrip":false,"normalized":false,"special":{special}}}"#
            )
        };
        format!(
            r#"{{"version":"1.0","added_tokens":[{},{}],"normalizer":{{"type":"NFC"}},
            "pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,
            "use_regex":false}},"post_processor":null,"decoder":{{"type":"ByteLevel",
            "add_prefix_space":false,"trim_offsets":true,"use_regex":false}},
            "model":{{"type":"BPE","vocab":{{{}}},"merges":["a b"]}}}}"#,
            added(257, "[e~[", true),
            added(258, "<think>", false),
            vocab.join(",")
        )
        .replace("\\u{ad}", "\u{ad}")
    }

    #[test]
    fn encodes_with_and_without_added_tokens() {
        let tokenizer = Tokenizer::load(tiny().as_bytes()).unwrap();
        assert_eq!(
            tokenizer.encode("ab[e~[<think>", true).unwrap(),
            [256, 257, 258]
        );
        let plain = tokenizer.encode("ab[e~[", false).unwrap();
        assert_eq!(
            plain,
            [256, b'[' as u32, b'e' as u32, b'~' as u32, b'[' as u32]
        );
        assert!(tokenizer.encode("", true).unwrap().is_empty());
        // NFC joins the accent.
        assert_eq!(tokenizer.encode("e\u{301}", false).unwrap(), [0xC3, 0xA9]);
    }

    /// The same in the form that the fast encoder knows.
    fn tiny_with_split() -> String {
        let byte_level = r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,
            "use_regex":false}"#;
        let split = r#"{"type":"Split","behavior":"Removed","invert":true,"pattern":{"Regex":
            "\\p{Lu}*\\p{Ll}+(?i:'s|'t)?|\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}"#;
        tiny().replacen(
            byte_level,
            &format!(r#"{{"type":"Sequence","pretokenizers":[{split},{byte_level}]}}"#),
            1,
        )
    }

    #[test]
    fn the_fast_encoder_agrees_with_the_library() {
        let tokenizer = Tokenizer::load(tiny_with_split().as_bytes()).unwrap();
        assert!(tokenizer.fast.is_some());
        let alphabet: Vec<char> = "abAB's 12\n\r\t.[e~[<think>é\u{301}\u{17f}ßДж中\u{ac00}\u{1100}\u{1161}🚀\u{200d}\u{a0}\u{3000}"
            .chars()
            .collect();
        let mut state = 12345u64;
        let mut random = move |below: usize| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        for _ in 0..3000 {
            let mut text = String::new();
            for _ in 0..random(40) {
                match random(12) {
                    0 => text.push_str("[e~["),
                    1 => text.push_str("<think>"),
                    _ => text.push(alphabet[random(alphabet.len())]),
                }
            }
            for parse_added in [false, true] {
                assert_eq!(
                    tokenizer.encode(&text, parse_added),
                    tokenizer.encode_by_library(&text, parse_added),
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn endless_words_are_refused() {
        let tokenizer = Tokenizer::load(tiny_with_split().as_bytes()).unwrap();
        assert!(tokenizer
            .encode(&"A".repeat(12_000_000), false)
            .unwrap_err()
            .contains("byte 0"));
        assert_eq!(
            tokenizer.encode(&"A".repeat(100_000), false).unwrap().len(),
            100_000
        );
    }

    #[test]
    fn tables_hold_bytes_strings_and_flags() {
        let tokenizer = Tokenizer::load(tiny().as_bytes()).unwrap();
        let tables = tokenizer.tables();
        assert_eq!(tables.flags.len(), 259);
        for byte in 0..256usize {
            let range =
                tables.bytes.offsets[byte] as usize..tables.bytes.offsets[byte + 1] as usize;
            assert_eq!(tables.bytes.data[range], [byte as u8]);
        }
        assert_eq!(tables.flags[257..259], [ADDED | SPECIAL, ADDED]);
        assert_eq!(tokenizer.token_id("<think>"), Some(258));
        assert_eq!(tokenizer.token_id("nothing"), None);
    }

    #[test]
    fn refuses_by_name() {
        let refusal = |json: &str| Tokenizer::load(json.as_bytes()).err().unwrap();
        assert!(!refusal("{}").is_empty());
        assert!(!refusal("not json").is_empty());
        let no_byte = refusal(&tiny().replace("\"A\": 65,", ""));
        assert!(no_byte.contains("0x41"), "{no_byte}");
        assert!(refusal(&tiny().replace(": 256", ": 4294967295")).contains("limit"));
        assert!(refusal(&tiny().replace("\"id\":258", "\"id\":300")).contains("258"));
        let no_decoder = tiny().replacen(
            "\"decoder\":{\"type\":\"ByteLevel\"",
            "\"decoder\":{\"type\":\"Fuse\"",
            1,
        );
        assert!(refusal(&no_decoder).contains("decoder"));
    }
}

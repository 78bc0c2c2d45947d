//! Reading a few strings of a JSON text, and keeping nothing else of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Names from the outermost object inwards; `[]` is the one item of a list of one.
pub(super) type Path = &'static [&'static str];

const ONLY_ITEM: &str = "[]";
/// Of one string. A longer one is passed over: it is none of those that are looked for.
const MAX_BYTES: usize = 4096;

/// The strings that were found, by their paths.
#[derive(Debug, Default)]
pub(super) struct Strings {
    found: Vec<(Path, String)>,
}

impl Strings {
    /// Reads these paths. A text that is not JSON holds none of them; of a name that is there twice, the last counts.
    pub(super) fn read(text: &[u8], paths: &[Path]) -> Strings {
        let mut strings = Strings::default();
        if paths.is_empty() {
            return strings;
        }
        let wanted = paths.iter().map(|path| (*path, *path)).collect();
        let mut json = serde_json::Deserializer::from_slice(text);
        let read = Node { wanted, found: &mut strings.found }.deserialize(&mut json).and_then(|()| json.end());
        if read.is_err() {
            strings.found.clear();
        }
        strings
    }

    pub(super) fn get(&self, path: Path) -> Option<&str> {
        self.found.iter().find(|(found, _)| *found == path).map(|(_, text)| text.as_str())
    }
}

/// A value of the text, with the paths that lead through it and what is left of each.
struct Node<'a> {
    wanted: Vec<(Path, Path)>,
    found: &'a mut Vec<(Path, String)>,
}

impl Node<'_> {
    fn behind(&self, name: &str) -> Vec<(Path, Path)> {
        let steps = self.wanted.iter().filter_map(|(path, left)| Some((*path, left.split_first()?)));
        steps.filter(|(_, (first, _))| **first == name).map(|(path, (_, rest))| (path, rest)).collect()
    }

    fn found(self, text: &str) {
        let here = self.wanted.iter().filter(|(_, left)| left.is_empty());
        if text.len() <= MAX_BYTES {
            for (path, _) in here {
                self.found.retain(|(found, _)| found != path);
                self.found.push((*path, text.to_owned()));
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let wanted = self.behind(&name);
            if wanted.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Node { wanted, found: &mut *self.found })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let wanted = self.behind(ONLY_ITEM);
        let through: Vec<Path> = wanted.iter().map(|(path, _)| *path).collect();
        let first = list.next_element_seed(Node { wanted, found: &mut *self.found })?;
        let mut is_alone = first.is_some();
        while list.next_element::<IgnoredAny>()?.is_some() {
            is_alone = false;
        }
        if !is_alone {
            self.found.retain(|(path, _)| !through.contains(path));
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.found(text);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Path = &["id"];
    const INNER: Path = &["event", "type"];
    const ITEM: Path = &["[]", "data", "id"];

    fn read(text: &str, path: Path) -> Option<String> {
        Strings::read(text.as_bytes(), &[ID, INNER, ITEM]).get(path).map(str::to_owned)
    }

    #[test]
    fn strings_are_found_where_they_are_looked_for() {
        let text = r#" {"a":[1,{"id":"x"}],"id":"\u0031","event":{"id":"y","type":"t"}} "#;
        assert_eq!(read(text, ID).as_deref(), Some("1"));
        assert_eq!(read(text, INNER).as_deref(), Some("t"));
        assert_eq!(read(text, ITEM), None);
        assert_eq!(read(r#"{"id":"a","id":"b"}"#, ID).as_deref(), Some("b"));
    }

    #[test]
    fn a_list_of_several_has_no_one_item() {
        assert_eq!(read(r#"[{"data":{"id":"1"}}]"#, ITEM).as_deref(), Some("1"));
        assert_eq!(read(r#"[{"data":{"id":"1"}},{"data":{"id":"2"}}]"#, ITEM), None);
        assert_eq!(read(r#"[{"data":{"id":"1"}},7]"#, ITEM), None);
        assert_eq!(read("[]", ITEM), None);
    }

    #[test]
    fn names_without_end_take_no_memory() {
        let text = format!("[{{{}\"data\":{{\"id\":\"y\"}}}}]", r#""data":{"id":"x"},"#.repeat(1000));
        let strings = Strings::read(text.as_bytes(), &[ID, ITEM]);
        assert_eq!((strings.get(ITEM), strings.found.len()), (Some("y"), 1));
    }

    #[test]
    fn what_is_no_string_or_no_json_is_nothing() {
        for text in
            ["", "33&33", "id", r#"{"id":1}"#, r#"{"id":null}"#, r#"{"id":["x"]}"#, r#"{"id":"x""#, r#"{"id":"x"}}"#]
        {
            assert_eq!(read(text, ID), None, "{text}");
        }
        assert_eq!(Strings::read(b"{\"id\":\"\xff\"}", &[ID]).get(ID), None);
        assert_eq!(read(&format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_BYTES + 1)), ID), None);
        assert_eq!(read(&"[".repeat(1_000_000), ID), None);
    }
}

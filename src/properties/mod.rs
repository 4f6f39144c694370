//! Configuration by the names of Java's clients: a map of properties, and the typed settings that come out of it.
//!
//! Rules this folder keeps:
//! - nothing is dropped in silence: an unknown name is an error that suggests the nearest known one, a property whose
//!   wish milena cannot fulfil is an error that says why, one that needs no fulfilling is listed by [`Properties::notes`];
//! - a value out of range is an error that names the property, the value and the range;
//! - values of secrets and of unknown properties never reach `Debug` or an error;
//! - milliseconds exist in the text only; settings hold `Duration`s.

use std::{collections::BTreeMap, fmt, path::Path};

use crate::error::{Error, ErrorKind, Result};

mod parse;
mod settings;
mod table;

pub use settings::{ClientSettings, ConsumerSettings, OffsetReset, ProducerSettings, RegistrySettings, SecretText};

use table::{Entry, Kind, Status};

/// A map of Java-named properties, such as `bootstrap.servers` and `linger.ms`.
///
/// `docs/config.md` lists every name with its default. The names are checked when the properties are used, all at once.
///
/// ```
/// use milena::properties::Properties;
///
/// let properties = Properties::new().set("acks", "all").set("linger.ms", "20");
/// assert_eq!(properties.producer()?.linger.as_millis(), 20);
///
/// let error = Properties::new().set("linger.sm", "20").check().unwrap_err();
/// assert!(error.to_string().contains("did you mean linger.ms?"));
/// # Ok::<(), milena::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: BTreeMap<String, String>,
}

impl Properties {
    /// No properties: every setting has its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same properties with `name` being `value`; what was said about `name` before is forgotten.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.insert(name, value);
        self
    }

    /// As [`set`](Self::set), in place.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.entries.insert(name.into(), value.into());
    }

    /// Reads the text of a Java `.properties` file, as UTF-8. Where a name comes twice, the later one counts.
    ///
    /// # Errors
    /// Kind `Config`: a malformed `\u` escape or an entry without a name, with the number of its line.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self { entries: parse::parse(text)?.into_iter().collect() })
    }

    /// Reads a Java `.properties` file, in UTF-8 or, as Java does it, in ISO 8859-1.
    ///
    /// # Errors
    /// Kind `Io` if the file cannot be read, kind `Config` as in [`parse`](Self::parse); both name the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path)
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot read {}", path.display())).with_source(error))?;
        // Every byte of ISO 8859-1 is the character of that number.
        let text =
            String::from_utf8(bytes).unwrap_or_else(|not| not.into_bytes().into_iter().map(char::from).collect());
        Self::parse(&text).map_err(|error| Error::new(ErrorKind::Config, format!("{}: {error}", path.display())))
    }

    /// What was set for `name`, as it was set.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(String::as_str)
    }

    /// The names that were set, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Checks every name and every value.
    ///
    /// # Errors
    /// Kind `Config`: an unknown name, with the nearest known one; a property that milena cannot fulfil, with the
    /// reason; a value out of its range; a combination that Java's producer refuses too.
    pub fn check(&self) -> Result<()> {
        self.client().map(drop)?;
        self.producer().map(drop)?;
        self.registry().map(drop)
    }

    /// One sentence for every property that was set and has no effect here.
    pub fn notes(&self) -> Vec<String> {
        let ignored = self.names().filter_map(|name| match table::find(name)?.status {
            Status::Ignored(why) => Some(format!("{name} has no effect: {why}")),
            _ => None,
        });
        ignored.collect()
    }

    /// What every connection needs.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn client(&self) -> Result<ClientSettings> {
        ClientSettings::read(&self.checked()?)
    }

    /// What the producer needs.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn producer(&self) -> Result<ProducerSettings> {
        ProducerSettings::read(&self.checked()?)
    }

    /// What the consumer needs.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn consumer(&self) -> Result<ConsumerSettings> {
        Ok(ConsumerSettings::read(&self.checked()?))
    }

    /// What the Schema Registry's client needs.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn registry(&self) -> Result<RegistrySettings> {
        RegistrySettings::read(&self.checked()?)
    }

    /// The same properties, all known and in their ranges.
    fn checked(&self) -> Result<Checked<'_>> {
        for (name, value) in &self.entries {
            check_entry(name, value)?;
        }
        Ok(Checked(self))
    }
}

fn check_entry(name: &str, value: &str) -> Result<()> {
    let Some(entry) = table::find(name) else { return Err(unknown(name)) };
    if let Status::Refused(why) = entry.status {
        return if value.trim().is_empty() { Ok(()) } else { Err(config(format!("{name} cannot be used: {why}"))) };
    }
    if entry.kind.accepts(value.trim()) {
        return Ok(());
    }
    Err(config(format!("{name} is {value:?}, but has to be {}", entry.kind.range())))
}

fn unknown(name: &str) -> Error {
    match table::nearest(name) {
        Some(nearest) => config(format!("unknown property {name}, did you mean {nearest}?")),
        None => config(format!("unknown property {name}")),
    }
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// Properties whose names and values were checked, so that reading one cannot fail.
struct Checked<'a>(&'a Properties);

impl Checked<'_> {
    /// What was set, trimmed as Java does, or the default.
    fn text(&self, name: &str) -> &str {
        let entry = table::find(name);
        debug_assert!(entry.is_some(), "{name} is not in the table");
        self.0.value(name).map(str::trim).or(entry.map(|entry| entry.default)).unwrap_or_default()
    }

    fn is_set(&self, name: &str) -> bool {
        self.0.value(name).is_some()
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    /// The value in the spelling of the table.
    fn one_of(&self, name: &str) -> &'static str {
        let Some(Entry { kind: Kind::OneOf(values), .. }) = table::find(name) else { return "" };
        values.iter().find(|known| known.eq_ignore_ascii_case(self.text(name))).copied().unwrap_or_default()
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.text(name).split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut properties = Self::new();
        properties.extend(entries);
        properties
    }
}

impl<N: Into<String>, V: Into<String>> Extend<(N, V)> for Properties {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, entries: I) {
        for (name, value) in entries {
            self.insert(name, value);
        }
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.entries.iter().map(|(name, value)| match table::find(name) {
            Some(Entry { kind, status: Status::Used, .. }) if *kind != Kind::Secret => (name, value.as_str()),
            _ => (name, "(hidden)"),
        });
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests;

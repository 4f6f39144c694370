//! `milena decode`: frames of Kafka's protocol, as hex or as they are, in; readable trees out.
//!
//! Rules this folder keeps:
//! - what cannot be read is shown as far as it can, said in one line, and ends the command with code 1; the frames
//!   behind it are shown all the same;
//! - a response without its request is a guess, and is called one.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::PathBuf,
};

use bytes::Bytes;
use clap::Args;
use milena::wire::{
    Api, ApiKey,
    tree::{Direction, FrameTree, Guess, Print, guess_response},
};

mod input;
mod json;

use crate::failure::{Failure, plural, say};
use input::Piece;

/// Prints frames of Kafka's protocol as readable trees, record batches inside too.
///
/// Reads hex (plain, spaced, 0x.., \x.., xxd, hexdump -C, od -tx1), a capture (lines of "> HEX" for requests and
/// "< HEX" for responses), what "tshark -q -z follow,tcp,raw,0" prints, or the bytes themselves; it finds out which.
/// The four bytes of a frame's length may be there or not. A request says what it is; a response is read as the answer
/// to the request of the same correlation id before it, as --api and --version say, or as a guess.
#[derive(Debug, Args)]
pub(crate) struct Decode {
    /// The input; stdin if it is not given.
    file: Option<PathBuf>,

    /// The frames are requests.
    #[arg(long, conflicts_with_all = ["response", "api", "version"])]
    request: bool,

    /// The frames are responses.
    #[arg(long)]
    response: bool,

    /// The API of responses whose request is not in the input: its name or key.
    #[arg(long, value_name = "NAME|KEY", value_parser = api)]
    api: Option<ApiKey>,

    /// The version of responses whose request is not in the input.
    #[arg(long, value_name = "N")]
    version: Option<i16>,

    /// The input is a capture, even if it does not look like one.
    #[arg(long, conflicts_with = "records")]
    capture: bool,

    /// The input is a region of record batches, without a frame around it.
    #[arg(long, conflicts_with_all = ["request", "response", "api", "version"])]
    records: bool,

    /// Shows long values whole.
    #[arg(long)]
    full: bool,

    /// Writes one JSON object per frame.
    #[arg(long)]
    json: bool,
}

fn api(text: &str) -> Result<ApiKey, String> {
    let found = match text.parse() {
        Ok(key) => Api::of_key(ApiKey(key)),
        Err(_) => Api::of_name(text),
    };
    found.map(|api| api.key).ok_or_else(|| "it is the name or the key of an API, such as Metadata or 3".to_owned())
}

impl Decode {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let bytes = self.read()?;
        let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let done = if self.records { self.region(bytes, &mut out) } else { self.frames(bytes, &mut out) };
        let flushed = out.flush().map_err(Failure::stdout);
        done.and(flushed)
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let limit = MAX_INPUT + 1;
        match self.file.as_ref().filter(|file| file.as_os_str() != "-") {
            Some(file) => File::open(file)
                .and_then(|file| file.take(limit).read_to_end(&mut bytes))
                .map_err(|error| Failure::error(format!("{}: {error}", file.display())))?,
            None => io::stdin().lock().take(limit).read_to_end(&mut bytes)?,
        };
        match bytes.len() as u64 {
            0 => Err(Failure::error("there is no input")),
            length if length > MAX_INPUT => Err(Failure::error("the input has more than 256 MiB")),
            _ => Ok(bytes),
        }
    }

    fn region(&self, bytes: Vec<u8>, out: &mut impl Write) -> Result<(), Failure> {
        let region = input::bytes(bytes).map_err(Failure::error)?;
        let all_well = match self.json {
            true => json::records(&region, out),
            false => self.print().records(&region, out),
        };
        match all_well.map_err(Failure::stdout)? {
            true => Ok(()),
            false => Err(Failure::error("not every record batch could be read")),
        }
    }

    fn frames(&self, bytes: Vec<u8>, out: &mut impl Write) -> Result<(), Failure> {
        let direction = match (self.request, self.response || self.api.is_some() || self.version.is_some()) {
            (true, _) => Some(Direction::Request),
            (_, true) => Some(Direction::Response),
            _ => None,
        };
        let pieces = input::pieces(bytes, self.capture).map_err(Failure::error)?;
        let (mut asked, mut all_well) = (Asked::default(), true);
        for (index, piece) in pieces.iter().enumerate() {
            let whats = format!("frame {}{}", index + 1, piece.line.map(|n| format!(", line {n}")).unwrap_or_default());
            let Some(found) = self.find(piece, piece.direction.or(direction), &mut asked) else {
                all_well = false;
                say(&format!("{whats}: {}", self.not_found(&piece.bytes)));
                continue;
            };
            if index > 0 && !self.json {
                writeln!(out).map_err(Failure::stdout)?;
            }
            let frame_is_well = self.show(&found, out).map_err(Failure::stdout)?;
            all_well &= frame_is_well && !piece.is_cut;
            if !frame_is_well || piece.is_cut {
                // stdout first, so that on a terminal the line stands below its tree.
                out.flush().map_err(Failure::stdout)?;
                say(&format!("{whats}: {}", fault(&found.tree, piece)));
            }
        }
        if all_well { Ok(()) } else { Err(Failure::Reported) }
    }

    /// Reads a frame as what it is, what it is said to be, or what it may be.
    fn find(&self, piece: &Piece, direction: Option<Direction>, asked: &mut Asked) -> Option<Found> {
        let bytes = &piece.bytes;
        if direction != Some(Direction::Response) {
            let tree = FrameTree::request(bytes.clone());
            if direction.is_some() || tree.fault.is_none() {
                asked.note(&tree);
                return Some(tree.into());
            }
        }
        if let Some(tree) = asked.answered(bytes) {
            return Some(tree.into());
        }
        // What names itself is not guessed at: read as something else, its secrets would be no secrets.
        if direction.is_none() && input::names_a_request(bytes) {
            return Some(FrameTree::request(bytes.clone()).into());
        }
        if let (Some(api), Some(version)) = (self.api, self.version) {
            return Some(FrameTree::response(bytes.clone(), api, version).into());
        }
        let guesses = guess_response(bytes, self.api, self.version);
        if let Some(best) = guesses.first() {
            let tree = FrameTree::response(bytes.clone(), best.api, *best.versions.end());
            return Some(Found { tree, guesses });
        }
        self.furthest(bytes, direction).map(Found::from)
    }

    /// What fits best of what does not fit: the request that it begins like, or the version that was read furthest.
    fn furthest(&self, bytes: &Bytes, direction: Option<Direction>) -> Option<FrameTree> {
        if let Some(api) = self.api.and_then(Api::of_key) {
            let trees = api.response.versions.clone().map(|tried| FrameTree::response(bytes.clone(), api.key, tried));
            return trees.max_by_key(|tree| tree.fault.as_ref().map_or(usize::MAX, |fault| fault.at));
        }
        let begins_like_a_request = direction.is_none() && input::begins_like_a_request(bytes);
        begins_like_a_request.then(|| FrameTree::request(bytes.clone()))
    }

    fn not_found(&self, bytes: &[u8]) -> String {
        let length = bytes.len();
        match (self.response, self.version) {
            (_, Some(version)) => format!("no API reads these {length} bytes to their end in version {version}"),
            (true, _) => format!("no API reads these {length} bytes to their end: --api and --version show how far"),
            _ => format!("{length} bytes that are no request, and no response that any API reads to its end"),
        }
    }

    /// Writes a frame and says whether all of it could be read.
    fn show(&self, found: &Found, out: &mut impl Write) -> io::Result<bool> {
        if self.json {
            return json::frame(&found.tree, &found.guesses, out);
        }
        if let Some((best, others)) = found.guesses.split_first() {
            writeln!(
                out,
                "# a guess: as {}{}",
                named(best),
                if others.is_empty() { "" } else { "; it could also be" }
            )?;
            for line in others.iter().take(SHOWN_GUESSES) {
                writeln!(out, "#   {}", named(line))?;
            }
            if let Some(more) = others.len().checked_sub(SHOWN_GUESSES).filter(|more| *more > 0) {
                writeln!(out, "#   and {more} more")?;
            }
        }
        self.print().frame(&found.tree, out)
    }

    fn print(&self) -> Print {
        Print { full: self.full, ..Print::default() }
    }
}

/// A frame that was read, and what else it could have been if that was a guess.
struct Found {
    tree: FrameTree,
    guesses: Vec<Guess>,
}

impl From<FrameTree> for Found {
    fn from(tree: FrameTree) -> Self {
        Self { tree, guesses: Vec::new() }
    }
}

/// The requests that were not answered yet, by correlation id. Those of several connections may share one.
#[derive(Default)]
struct Asked(HashMap<i32, Vec<(ApiKey, i16)>>);

impl Asked {
    fn note(&mut self, request: &FrameTree) {
        if let Some(id) = request.correlation_id() {
            self.0.entry(id).or_default().push((request.api, request.version));
        }
    }

    /// The response as the answer to the latest request of its correlation id; or to an earlier one, if it can be read
    /// only so.
    fn answered(&mut self, response: &Bytes) -> Option<FrameTree> {
        let requests = self.0.get_mut(&i32::from_be_bytes(*response.first_chunk()?))?;
        let read = |(api, version): &(ApiKey, i16)| FrameTree::response(response.clone(), *api, *version);
        let fits = requests.iter().rposition(|request| read(request).fault.is_none());
        let index = fits.or(requests.len().checked_sub(1))?;
        let request = requests.get(index).copied()?;
        requests.remove(index);
        Some(read(&request))
    }
}

fn named(guess: &Guess) -> String {
    let (first, last) = (guess.versions.start(), guess.versions.end());
    let versions = if first == last { format!("v{first}") } else { format!("v{first} to v{last}") };
    let odd = if guess.odd > 0 { format!(", {} of them odd", guess.odd) } else { String::new() };
    format!("{} {versions} ({}{odd})", guess.api, plural(guess.known as u64, "value"))
}

fn fault(tree: &FrameTree, piece: &Piece) -> String {
    let noun = if tree.direction == Direction::Request { "request" } else { "response" };
    let why = match &tree.fault {
        Some(fault) => fault.to_string(),
        None => "not every record batch could be read".to_owned(),
    };
    let cut = if piece.is_cut { "; its length says that it goes on" } else { "" };
    match tree.api.0 {
        ..0 => format!("{why}{cut}"),
        _ => format!("{} {noun} v{}: {why}{cut}", tree.api, tree.version),
    }
}

/// How much input is taken: 256 MiB.
const MAX_INPUT: u64 = 256 * 1024 * 1024;
/// How many other guesses are named.
const SHOWN_GUESSES: usize = 5;

//! Objects that live between calls, identified by number.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use ruvector_attention::layers::{Entry, LoadOptions, StoredEntry, TypedEntry};
use ruvector_attention::math::weight::Weights;
use ruvector_attention::{Code, Error, Result};

#[cfg(feature = "training")]
use crate::state::copy_entry;
use crate::state::{describe_entries, parse_entries, read_entry};

/// State that outlives a call: layers with parameters, and anything too expensive to rebuild each time.
pub trait Object: Any + Send + Sync {
    /// Returns the configuration with every default filled in, as JSON.
    ///
    /// # Errors
    /// `INTERNAL` if the configuration cannot be written.
    fn config(&self) -> Result<String>;

    /// Returns the parameters in PyTorch's order, in their own types; empty for objects without parameters.
    fn stored(&self) -> Vec<StoredEntry<'_>> {
        Vec::new()
    }

    /// Returns the elements of each of [`Object::stored`] for changes in place, or `None` for those of another type
    /// than 32-bit floats.
    #[cfg(feature = "training")]
    fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        Vec::new()
    }

    /// Returns true if a call can change the number of bytes that the object occupies.
    fn can_grow(&self) -> bool {
        false
    }

    /// Returns the number of bytes that the object occupies.
    fn bytes(&self) -> usize {
        self.stored().iter().map(StoredEntry::bytes).sum()
    }

    /// Passes to `visit` the entries from which [`Object::with_typed`] recreates the object.
    ///
    /// # Errors
    /// Any error that `visit` returns.
    fn visit_stored(&self, visit: &mut dyn FnMut(&[StoredEntry<'_>]) -> Result<()>) -> Result<()> {
        visit(&self.stored())
    }

    /// Returns the same as [`Object::with_entries`] from entries of any type. Only objects that keep other types than
    /// 32-bit floats accept them.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit, `MEMORY`.
    fn with_typed(&self, entries: &[TypedEntry<'_>], options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        self.with_entries(&entries.iter().map(as_floats).collect::<Result<Vec<_>>>()?, options)
    }

    /// Returns the same object with the parameters that `entries` hold below a prefix, under any of the known names.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit.
    fn with_entries(&self, _entries: &[Entry<'_>], _options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        Err(Error::new(Code::Internal, "state", "an object with parameters", "one without"))
    }
}

/// Returns an entry of 32-bit floats. lib/ passes other types only to objects that keep them.
fn as_floats<'a>(entry: &TypedEntry<'a>) -> Result<Entry<'a>> {
    let Weights::F32(data) = entry.data else {
        return Err(Error::new(Code::Internal, &entry.name, "32-bit floats", "another type"));
    };
    Ok(Entry { name: entry.name.clone(), shape: entry.shape.clone(), data })
}

/// An object and the number of bytes reported for it.
struct Entered {
    object: Arc<dyn Object>,
    bytes: usize,
}

thread_local! {
    /// The objects of this thread, and hence of one JavaScript environment. An object's number is its index.
    static OBJECTS: RefCell<Vec<Option<Entered>>> = const { RefCell::new(Vec::new()) };
    /// The bytes by which objects have grown since the last `take_growth`.
    static GROWTH: Cell<i64> = const { Cell::new(0) };
}

/// Returns the bytes by which the objects of this thread have grown since the last call of this function; negative if
/// they have shrunk. Knowing this, a garbage collector can collect objects that were not disposed of in time.
pub fn take_growth() -> i64 {
    GROWTH.take()
}

fn grow(from: usize, to: usize) {
    GROWTH.set(GROWTH.get() + to as i64 - from as i64);
}

pub(crate) fn find(id: u32) -> Result<Arc<dyn Object>> {
    let object = OBJECTS.with_borrow(|objects| {
        let entered = objects.get(id as usize).and_then(Option::as_ref);
        entered.map(|entered| entered.object.clone())
    });
    // lib/ never uses the number of a freed object.
    object.ok_or_else(|| Error::new(Code::Internal, "object", "one that is still held", id))
}

/// Counts the bytes again for those of the objects whose size a call can change. For a small call, adding up the
/// parameters of a layer would cost more than the call itself.
pub(crate) fn weigh(ids: impl Iterator<Item = u32>) {
    OBJECTS.with_borrow_mut(|objects| {
        for id in ids {
            if let Some(Some(Entered { object, bytes })) = objects.get_mut(id as usize) {
                // A held number shares the memory of the original one.
                if *bytes != SHARED && object.can_grow() {
                    let now = object.bytes();
                    grow(*bytes, now);
                    *bytes = now;
                }
            }
        }
    });
}

/// Marks a number that shares its object with another.
const SHARED: usize = usize::MAX;

/// Returns the bytes that count for an object.
fn counted(bytes: usize) -> usize {
    if bytes == SHARED { 0 } else { bytes }
}

/// Returns another number for an object in its current state; later changes through the original number do not affect
/// it.
pub fn hold(id: u32) -> Result<u32> {
    find(id).map(|object| enter(Entered { object, bytes: SHARED }))
}

pub(crate) fn keep(object: Arc<dyn Object>) -> u32 {
    let bytes = object.bytes();
    enter(Entered { object, bytes })
}

fn enter(entered: Entered) -> u32 {
    grow(0, counted(entered.bytes));
    OBJECTS.with_borrow_mut(|objects| {
        let id = objects.iter().position(Option::is_none).unwrap_or(objects.len());
        if id == objects.len() {
            objects.push(None);
        }
        objects[id] = Some(entered);
        id as u32
    })
}

/// Releases an object; calls that are still using it continue.
pub fn free(id: u32) {
    let freed = OBJECTS.with_borrow_mut(|objects| objects.get_mut(id as usize).and_then(Option::take));
    if let Some(freed) = freed {
        grow(counted(freed.bytes), 0);
    }
}

/// Returns the number of bytes that an object occupies.
pub fn bytes_of(id: u32) -> Result<usize> {
    find(id).map(|object| object.bytes())
}

/// Returns an object's configuration with every default filled in, as JSON.
pub fn describe(id: u32) -> Result<String> {
    find(id)?.config()
}

/// Returns names and shapes of an object's parameters as a JSON list of `{ "name", "shape" }`, with the `type` of those
/// that are not 32-bit floats.
pub fn state_entries(id: u32) -> Result<String> {
    let mut described = String::new();
    find(id)?.visit_stored(&mut |entries| {
        described = describe_entries(entries);
        Ok(())
    })?;
    Ok(described)
}

/// Copies the parameter at `index` of an object to `output`; other types than 32-bit floats as words.
pub fn read_state(id: u32, index: u32, output: &mut [f32]) -> Result<()> {
    find(id)?.visit_stored(&mut |entries| read_entry(entries, index as usize, output))
}

/// Loads the parameters of a state dict; on an error nothing changes.
pub fn load_state(id: u32, entries: &str, data: &[&[f32]], options: LoadOptions<'_>) -> Result<()> {
    let object = loaded(&*find(id)?, entries, data, options)?;
    let bytes = object.bytes();
    let before = OBJECTS.with_borrow_mut(|objects| objects[id as usize].replace(Entered { object, bytes }));
    grow(before.map_or(0, |before| counted(before.bytes)), bytes);
    Ok(())
}

/// Returns the same object with the parameters of a state dict.
fn loaded(object: &dyn Object, entries: &str, data: &[&[f32]], options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
    let parsed = parse_entries(entries, data)?;
    let typed = parsed.iter().map(|entry| entry.borrow()).collect::<Vec<_>>();
    object.with_typed(&typed, options)
}

/// Lends objects, each of which is named once, for changes in place. An object that is shared, with another number or
/// with a call on another thread, is replaced by a copy.
///
/// # Errors
/// `MEMORY` if an object cannot be copied, and any error that `change` returns.
#[cfg(feature = "training")]
pub(crate) fn with_exclusive(ids: &[u32], change: impl FnOnce(&mut [&mut dyn Object]) -> Result<()>) -> Result<()> {
    OBJECTS.with_borrow_mut(|objects| {
        let missing = || Error::new(Code::Internal, "object", "one that is still held", "another");
        for &id in ids {
            let entered = objects.get_mut(id as usize).and_then(Option::as_mut).ok_or_else(missing)?;
            if Arc::get_mut(&mut entered.object).is_none() {
                entered.object = copy(&*entered.object)?;
            }
        }
        let mut all: Vec<Option<&mut Entered>> = objects.iter_mut().map(Option::as_mut).collect();
        let mut exclusive = Vec::with_capacity(ids.len());
        for &id in ids {
            let entered = all[id as usize].take().ok_or_else(missing)?;
            exclusive.push(Arc::get_mut(&mut entered.object).ok_or_else(missing)?);
        }
        let done = change(&mut exclusive);
        for &id in ids {
            if let Some(Entered { object, bytes }) = &mut objects[id as usize] {
                let now = object.bytes();
                grow(counted(*bytes), now);
                *bytes = now;
            }
        }
        done
    })
}

/// Copies an object with its parameters, in the form in which bindings read and load them.
#[cfg(feature = "training")]
fn copy(object: &dyn Object) -> Result<Arc<dyn Object>> {
    let (mut described, mut words) = (String::new(), Vec::new());
    object.visit_stored(&mut |entries| {
        described = describe_entries(entries);
        for index in 0..entries.len() {
            words.push(copy_entry(entries, index)?);
        }
        Ok(())
    })?;
    let words: Vec<&[f32]> = words.iter().map(|words| &**words).collect();
    loaded(object, &described, &words, "".into())
}

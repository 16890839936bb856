//! The objects that live between calls, by number.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use ruvector_attention::layers::{Entry, LoadOptions};
use ruvector_attention::{Code, Error, Result};

use crate::state::{describe_entries, parse_entries, read_entry};

/// State that outlives a call: layers with parameters, and anything too expensive to rebuild each time.
pub trait Object: Any + Send + Sync {
    /// The configuration with every default filled in, as JSON.
    ///
    /// # Errors
    /// `INTERNAL` for a configuration that cannot be written.
    fn config(&self) -> Result<String>;

    /// The parameters in PyTorch's order; objects without parameters have none.
    fn entries(&self) -> Vec<Entry<'_>> {
        Vec::new()
    }

    /// Gives `visit` the entries from which [`Object::with_entries`] makes the same object again.
    ///
    /// # Errors
    /// Those of `visit`.
    fn visit_entries(&self, visit: &mut dyn FnMut(&[Entry<'_>]) -> Result<()>) -> Result<()> {
        visit(&self.entries())
    }

    /// The same object with the parameters that `entries` hold below a prefix, under any of the known names.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for entries that do not fit.
    fn with_entries(&self, _entries: &[Entry<'_>], _options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        Err(Error::new(Code::Internal, "state", "an object with parameters", "one without"))
    }
}

thread_local! {
    /// The objects of this thread, and so of one JavaScript environment: an object's number is its place.
    static OBJECTS: RefCell<Vec<Option<Arc<dyn Object>>>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn find(id: u32) -> Result<Arc<dyn Object>> {
    let object = OBJECTS.with_borrow(|objects| objects.get(id as usize).cloned().flatten());
    // lib/ never names an object that it has freed.
    object.ok_or_else(|| Error::new(Code::Internal, "object", "one that is still held", id))
}

/// A further number for an object as it is now; changes under the other number do not reach it.
pub fn hold(id: u32) -> Result<u32> {
    find(id).map(keep)
}

pub(crate) fn keep(object: Arc<dyn Object>) -> u32 {
    OBJECTS.with_borrow_mut(|objects| {
        let id = objects.iter().position(Option::is_none).unwrap_or(objects.len());
        objects.resize(objects.len().max(id + 1), None);
        objects[id] = Some(object);
        id as u32
    })
}

/// Lets go of an object; calls that are still at work on it go on.
pub fn free(id: u32) {
    let freed = OBJECTS.with_borrow_mut(|objects| objects.get_mut(id as usize).and_then(Option::take));
    drop(freed);
}

/// An object's configuration with every default filled in, as JSON.
pub fn describe(id: u32) -> Result<String> {
    find(id)?.config()
}

/// Names and shapes of an object's parameters as a JSON list of `{ "name", "shape" }`.
pub fn state_entries(id: u32) -> Result<String> {
    let mut described = String::new();
    find(id)?.visit_entries(&mut |entries| {
        described = describe_entries(entries);
        Ok(())
    })?;
    Ok(described)
}

/// Copies the parameter at `index` of an object to `output`.
pub fn read_state(id: u32, index: u32, output: &mut [f32]) -> Result<()> {
    find(id)?.visit_entries(&mut |entries| read_entry(entries, index as usize, output))
}

/// Loads the parameters of a state dict, or fails and changes nothing.
pub fn load_state(id: u32, entries: &str, data: &[&[f32]], options: LoadOptions<'_>) -> Result<()> {
    let loaded = find(id)?.with_entries(&parse_entries(entries, data)?, options)?;
    OBJECTS.with_borrow_mut(|objects| objects[id as usize] = Some(loaded));
    Ok(())
}

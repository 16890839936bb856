//! Sums that stay between calls: causal linear attention a few positions at a time.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::calls::Object;
use crate::error::{Code, Error, Result};
use crate::linear::{LinearAttention, Pass, new_sums};
use crate::options::count;
use crate::options::parse::{read_into, read_options};
use crate::sdpa::Problem;
use crate::tensor::Tensor;
use crate::threads::{Context, SharedMut};
use crate::weights::Entry;

/// The state of causal linear attention after the positions so far.
pub struct Stream {
    batch: usize,
    /// E; D unless given.
    value_dim: Option<usize>,
    state: Mutex<State>,
}

/// The sums of each batch entry and head. Before the first step there are no heads and no sums.
#[derive(Default)]
struct State {
    heads: usize,
    sums: Vec<f32>,
}

#[derive(Default)]
struct GivenConfig {
    batch: Option<usize>,
    value_dim: Option<usize>,
}

impl Stream {
    /// A stream before its first position, by its configuration, a JSON object.
    ///
    /// # Errors
    /// `OPTION` for a configuration that does not fit.
    pub fn new(config: &str) -> Result<Self> {
        let mut given = GivenConfig::default();
        read_into!(given, Some(config), &[], |names| names, {
            "batch" => batch: count,
            "valueDim" => value_dim: count,
        })?;
        Ok(Self { batch: given.batch.unwrap_or(1), value_dim: given.value_dim, state: Mutex::default() })
    }

    // A panic leaves sums of the right size, if not of whole positions.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next positions in and writes their rows of the output: what
    /// [`LinearAttention::forward`] gives for them with `causal` over all positions so far. Inputs as there, with as many keys as
    /// queries; the first step says how many heads there are.
    ///
    /// # Errors
    /// `SHAPE` where shapes do not fit, `MEMORY`; nothing is changed then.
    pub fn step(
        &self,
        attention: &LinearAttention,
        context: Context,
        [q, k, v]: [Tensor<'_>; 3],
        output: &mut [f32],
    ) -> Result<()> {
        let plan = attention.plan(context, [q, k, v], None, output)?;
        let &Problem { batch, heads, queries, keys, value_dim, .. } = &plan.problem;
        let mut state = self.state();
        let heads_so_far = if state.heads == 0 { heads } else { state.heads };
        expect("q", "the stream's batch size", self.batch, batch)?;
        expect("q", "the number of heads of earlier steps,", heads_so_far, heads)?;
        expect("k", "the length of q,", queries, keys)?;
        expect("v", "the stream's valueDim", self.value_dim.unwrap_or(attention.map.size), value_dim)?;
        if output.is_empty() {
            return Ok(());
        }
        if state.heads == 0 {
            state.sums = new_sums(batch * heads, plan.sums_len)?;
            state.heads = heads;
        }
        attention.run(context, &plan, &Pass::causal(&plan, &mut state.sums), &SharedMut::new(output));
        Ok(())
    }

    /// Forgets every position.
    pub fn reset(&self) {
        *self.state() = State::default();
    }
}

#[cfg_attr(target_family = "wasm", inline(never))]
fn expect(argument: &str, what: &str, expected: usize, actual: usize) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::shape(argument, format_args!("{what} {expected}"), actual))
}

impl Object for Stream {
    fn config(&self) -> String {
        let mut json = String::new();
        // Writing to a String does not fail.
        let _ = write!(json, "{{\"batch\":{}", self.batch);
        if let Some(value_dim) = self.value_dim {
            let _ = write!(json, ",\"valueDim\":{value_dim}");
        }
        json.push('}');
        json
    }

    fn visit_entries(&self, visit: &mut dyn FnMut(&[Entry<'_>]) -> Result<()>) -> Result<()> {
        let state = self.state();
        if state.heads == 0 {
            return visit(&[]);
        }
        let shape = vec![self.batch, state.heads, state.sums.len() / (self.batch * state.heads)];
        visit(&[Entry { name: "sums".into(), shape, data: &state.sums }])
    }

    fn with_entries(&self, entries: &[Entry<'_>], _prefix: &str) -> Result<Arc<dyn Object>> {
        let malformed = || Error::new(Code::Internal, "entries", "the sums of a stream", "others");
        let [Entry { shape, data, .. }] = entries else { return Err(malformed()) };
        let &[_, heads, _] = &shape[..] else { return Err(malformed()) };
        let state = Mutex::new(State { heads, sums: data.to_vec() });
        Ok(Arc::new(Self { batch: self.batch, value_dim: self.value_dim, state }))
    }
}

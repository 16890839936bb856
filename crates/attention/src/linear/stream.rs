//! Sums that stay between calls: causal linear attention a few positions at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::attention::Problem;
use crate::context::Context;
use crate::context::rows::SharedMut;
use crate::error::{Code, Error, Result};
use crate::layers::Entry;
use crate::linear::{
    LinearAttention, LinearOptions, LinearOutputs, LinearRule, LinearTensors, Pass, new_sums, recurrent,
};
use crate::ranges;
use crate::tensor::try_zeroed;

/// The state of causal linear attention after the positions so far.
pub struct Stream {
    config: StreamConfig,
    state: Mutex<State>,
}

/// The sums or states of each batch entry and key/value head. Before the first step there are no heads and no sums.
#[derive(Default)]
struct State {
    heads: usize,
    sums: Vec<f32>,
}

/// The sizes of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct StreamConfig {
    /// Batch entries; 1 by default.
    pub batch: usize,
    /// The size of a head's values; that of its queries where absent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub value_dim: Option<usize>,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { batch: 1, value_dim: None }
    }
}

impl Stream {
    /// A stream before its first position.
    ///
    /// # Errors
    /// `OPTION` for a configuration that does not fit.
    pub fn new(config: StreamConfig) -> Result<Self> {
        ranges::count("batch", config.batch)?;
        ranges::optional_count("value_dim", config.value_dim)?;
        Ok(Self { config, state: Mutex::default() })
    }

    /// The configuration.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    // A panic leaves sums of the right size, if not of whole positions.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the next positions and writes their output rows, which equal those of [`LinearAttention::forward`] with
    /// `causal` over all positions so far. Inputs have the same shapes, with as many keys as queries; the first step
    /// sets the number of heads. A state among the tensors replaces that of the stream.
    ///
    /// # Errors
    /// `SHAPE` where shapes do not fit, `OPTION` where a tensor or option does not belong to the rule, `MEMORY`;
    /// nothing is changed then.
    pub fn step(
        &self,
        attention: &LinearAttention,
        context: Context<'_>,
        tensors: LinearTensors<'_>,
        options: LinearOptions,
        outputs: LinearOutputs<'_>,
    ) -> Result<()> {
        if options.causal == Some(false) {
            return Err(Error::value("causal", "true, as streams are causal", false));
        }
        attention.check_options(tensors, options, &outputs)?;
        if attention.config.rule != LinearRule::Kernel {
            return self.step_recurrent(attention, context, tensors, outputs);
        }
        let output = outputs.output;
        let plan = attention.plan(context, [tensors.q, tensors.k, tensors.v], tensors.kv_lengths, output)?;
        let &Problem { batch, heads, queries, keys, value_dim, .. } = &plan.problem;
        let mut state = self.state();
        let heads_so_far = if state.heads == 0 { heads } else { state.heads };
        expect("q", "the stream's batch size", self.config.batch, batch)?;
        expect("q", "the number of heads of earlier steps,", heads_so_far, heads)?;
        expect("k", "the length of q,", queries, keys)?;
        expect("v", "the stream's value_dim", self.config.value_dim.unwrap_or(attention.map.size), value_dim)?;
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

    fn step_recurrent(
        &self,
        attention: &LinearAttention,
        context: Context<'_>,
        tensors: LinearTensors<'_>,
        outputs: LinearOutputs<'_>,
    ) -> Result<()> {
        let plan = recurrent::Plan::new(attention, context, tensors, &outputs)?;
        let mut state = self.state();
        let heads = (state.heads > 0).then_some(state.heads);
        plan.check_stream(self.config.batch, heads, self.config.value_dim.unwrap_or(attention.map.size))?;
        if state.heads == 0 {
            state.sums = try_zeroed("the state", plan.states_len()?)?;
            state.heads = plan.kv_heads;
        }
        plan.run(context, &mut state.sums, outputs);
        Ok(())
    }

    /// The bytes that the sums occupy.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.state().sums)
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

impl Stream {
    /// Gives `visit` the entries that [`Self::revived`] takes: the sums, once there are some.
    ///
    /// # Errors
    /// Any error that `visit` returns.
    pub fn visit_entries(&self, visit: &mut dyn FnMut(&[Entry<'_>]) -> Result<()>) -> Result<()> {
        let state = self.state();
        if state.heads == 0 {
            return visit(&[]);
        }
        let batch = self.config.batch;
        let shape = vec![batch, state.heads, state.sums.len() / (batch * state.heads)];
        visit(&[Entry { name: "sums".into(), shape, data: &state.sums }])
    }

    /// A stream of the same configuration with the sums that [`Self::visit_entries`] gave.
    ///
    /// # Errors
    /// `INTERNAL` for other entries.
    pub fn revived(&self, entries: &[Entry<'_>]) -> Result<Self> {
        let malformed = || Error::new(Code::Internal, "entries", "the sums of a stream", "others");
        let [Entry { shape, data, .. }] = entries else { return Err(malformed()) };
        let &[_, heads, _] = &shape[..] else { return Err(malformed()) };
        let state = Mutex::new(State { heads, sums: data.to_vec() });
        Ok(Self { config: self.config.clone(), state })
    }
}

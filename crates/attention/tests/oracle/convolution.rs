//! Causal convolution against the oracle, and sequences split into several calls against whole ones.

use proptest::prelude::*;
use ruvector_attention::convolution::{
    ConvolutionActivation, ConvolutionOptions, ConvolutionTensors, causal_convolution,
};
use ruvector_attention::{Code, Context, Tensor};
use ruvector_attention_oracle::convolution as reference;

use crate::support::{Random, assert_near, contexts};

/// The tensors of a call.
#[derive(Debug)]
struct Case {
    sizes: [usize; 4],
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    state: Option<Vec<f32>>,
    activation: ConvolutionActivation,
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = (1..4usize, 1..9usize, 0..70usize, 1..9usize);
    (sizes, any::<[bool; 3]>(), any::<u64>()).prop_map(
        |((batch, channels, length, size), [bias, state, silu], seed)| {
            let mut random = Random::new(seed);
            Case {
                sizes: [batch, channels, length, size],
                x: random.normals(batch * channels * length),
                weight: random.normals(channels * size),
                bias: bias.then(|| random.normals(channels)),
                state: state.then(|| random.normals(batch * channels * (size - 1))),
                activation: if silu { ConvolutionActivation::Silu } else { ConvolutionActivation::None },
            }
        },
    )
}

impl Case {
    fn options(&self) -> ConvolutionOptions {
        ConvolutionOptions { activation: self.activation }
    }

    fn tensors(&self) -> ConvolutionTensors<'_> {
        let [batch, channels, length, size] = self.sizes;
        ConvolutionTensors {
            x: Tensor::new("x", &self.x, &[batch, channels, length]).unwrap(),
            weight: Tensor::new("weight", &self.weight, &[channels, 1, size]).unwrap(),
            bias: self.bias.as_ref().map(|bias| Tensor::new("bias", bias, &[channels]).unwrap()),
            state: self.state.as_ref().map(|state| Tensor::new("state", state, &[batch, channels, size - 1]).unwrap()),
        }
    }

    fn run(&self, context: Context<'_>) -> [Vec<f32>; 2] {
        let [batch, channels, length, size] = self.sizes;
        let mut output = vec![f32::NAN; batch * channels * length];
        let mut state = vec![f32::NAN; batch * channels * (size - 1)];
        causal_convolution(context, self.tensors(), self.options(), &mut output, &mut state).unwrap();
        [output, state]
    }

    /// Returns the case for positions `start .. end` of x, continued from `state`.
    fn part(&self, start: usize, end: usize, state: Option<Vec<f32>>) -> Self {
        let [batch, channels, length, size] = self.sizes;
        let rows = 0..batch * channels;
        Self {
            sizes: [batch, channels, end - start, size],
            x: rows.flat_map(|row| self.x[row * length..][start..end].to_vec()).collect(),
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            state,
            activation: self.activation,
        }
    }
}

proptest! {
    #[test]
    fn outputs_and_states_match_the_oracle(case in case()) {
        let [expected, expected_state] = reference::causal_convolution(case.tensors(), case.options());
        for context in contexts() {
            let [output, state] = case.run(context);
            assert_near(&output, &expected, 2e-6, "output");
            if case.sizes[2] > 0 {
                assert_near(&state, &expected_state, 0.0, "state");
            }
        }
    }

    #[test]
    fn a_sequence_in_two_calls_has_the_bits_of_one(case in case(), share in 0.0..1.0) {
        let [batch, channels, length, _] = case.sizes;
        let middle = (length as f64 * share) as usize;
        for context in contexts() {
            let [whole, last] = case.run(context);
            let [first, state] = case.part(0, middle, case.state.clone()).run(context);
            let [second, state] = case.part(middle, length, Some(state)).run(context);
            prop_assert_eq!(&state, &last);
            for row in 0..batch * channels {
                let (start, end) = whole[row * length..][..length].split_at(middle);
                prop_assert_eq!(start, &first[row * middle..][..middle]);
                prop_assert_eq!(end, &second[row * (length - middle)..][..length - middle]);
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors_that_name_the_tensor() {
    let data = [0.5; 24];
    let tensor = |dims: &[usize]| Tensor::new("", &data[..dims.iter().product()], dims).unwrap();
    let fits = ConvolutionTensors { x: tensor(&[2, 3, 4]), weight: tensor(&[3, 1, 2]), bias: None, state: None };
    let cases = [
        ("x", ConvolutionTensors { x: tensor(&[6, 4]), ..fits }),
        ("weight", ConvolutionTensors { weight: tensor(&[3, 2]), ..fits }),
        ("weight", ConvolutionTensors { weight: tensor(&[3, 1, 0]), ..fits }),
        ("weight", ConvolutionTensors { weight: tensor(&[2, 1, 2]), ..fits }),
        ("bias", ConvolutionTensors { bias: Some(tensor(&[1])), ..fits }),
        ("state", ConvolutionTensors { state: Some(tensor(&[2, 3, 2])), ..fits }),
    ];
    let run = |tensors, output: &mut [f32], state: &mut [f32]| {
        causal_convolution(Context::default(), tensors, ConvolutionOptions::default(), output, state)
    };
    for (argument, tensors) in cases {
        let error = run(tensors, &mut [0.0; 24], &mut [0.0; 6]).unwrap_err();
        assert_eq!((error.code, error.argument.as_str()), (Code::Shape, argument));
    }
    assert_eq!(run(fits, &mut [0.0; 23], &mut [0.0; 6]).unwrap_err().argument, "output");
    assert_eq!(run(fits, &mut [0.0; 24], &mut [0.0; 7]).unwrap_err().argument, "state");
    run(fits, &mut [0.0; 24], &mut [0.0; 6]).unwrap();
}

//! Calls that are made on one thread and run on another, as the bindings make them, and their errors as the bindings throw them.

use ruvector_attention::context::Observer;
use ruvector_attention::{Code, Shape};
use ruvector_attention_calls::{self as calls, Pending, Slots, to_json};

/// Takes progress, and cancels from the start where it is told to.
struct Watcher(bool);

impl Observer for Watcher {
    fn is_cancelled(&self) -> bool {
        self.0
    }

    fn progress(&self, _: f32) {}
}

fn number(operation: &str) -> u32 {
    calls::operations().split(',').position(|name| name == operation).unwrap() as u32
}

const VALUES: [f32; 6] = [0.0, 1.0, -1.0, 2.0, 0.5, -3.0];
/// One thread, no training, part 0 of 1, no object, and the shape [2, 3].
const HEADER: [f64; 8] = [1.0, 0.0, 0.0, 1.0, 0.0, 2.0, 2.0, 3.0];

fn slots<'a>(input: &'a [f32], output: &'a mut [f32]) -> Slots<'a> {
    Slots { inputs: [Some(input), None, None, None], outputs: [Some(output), None, None, None], ..Slots::default() }
}

#[test]
fn a_call_that_runs_on_another_thread_gives_the_same_bits() {
    let mut expected = [0.0; 6];
    calls::call(number("softmax"), &HEADER, None, slots(&VALUES, &mut expected), None).unwrap();
    let mut pending = Pending::new(number("softmax"), &HEADER, None).unwrap();
    let output = std::thread::spawn(move || {
        let mut output = [0.0; 6];
        pending.run(&Watcher(false), slots(&VALUES, &mut output).reborrow()).unwrap();
        output
    })
    .join()
    .unwrap();
    assert_eq!(output.map(f32::to_bits), expected.map(f32::to_bits));
}

#[test]
fn a_call_keeps_the_object_that_it_was_made_with_after_that_is_freed() {
    let id = calls::create("self", r#"{"numHeads":1,"headDim":3,"seed":1}"#, [None, None]).unwrap();
    let header = [1.0, 0.0, 0.0, 1.0, 1.0, f64::from(id), 3.0, 1.0, 2.0, 3.0];
    let operation = number("multiHeadAttention");
    let mut expected = [0.0; 6];
    calls::call(operation, &header, None, slots(&VALUES, &mut expected), None).unwrap();
    let mut pending = Pending::new(operation, &header, None).unwrap();
    calls::free(id);
    let mut output = [0.0; 6];
    pending.run(&Watcher(false), slots(&VALUES, &mut output)).unwrap();
    assert_eq!(output, expected);
    assert!(Pending::new(operation, &header, None).is_err(), "the object is gone");
}

#[test]
fn operations_that_do_not_exist_are_refused_before_anything_runs() {
    let error = Pending::new(u32::MAX, &HEADER, None).err().unwrap();
    assert_eq!(error.code, Code::Internal);
}

#[test]
fn an_error_is_json_with_its_code_its_argument_and_what_was_expected_and_given() {
    let error = calls::create("self", r#"{"quote\"\\\n":1}"#, [None, None]).unwrap_err();
    let json = to_json(&error);
    assert!(json.starts_with(r#"{"code":"OPTION","argument":"quote\"\\\u000a","expected":""#), "{json}");
    assert!(json.ends_with(r#""}"#), "{json}");
    assert!(error.to_string().contains(": expected "), "{error}");

    let mut output = [0.0; 6];
    let error = calls::call(number("softmax"), &HEADER, None, slots(&VALUES[..5], &mut output), None).unwrap_err();
    assert!(to_json(&error).starts_with(r#"{"code":"SHAPE","#), "{}", to_json(&error));
    let names = [Code::Shape, Code::Dtype, Code::Option, Code::Domain, Code::Format, Code::Memory, Code::Internal];
    assert_eq!(names.map(Code::name), ["SHAPE", "DTYPE", "OPTION", "DOMAIN", "FORMAT", "MEMORY", "INTERNAL"]);
}

#[test]
fn a_shape_of_too_many_dimensions_is_an_error_and_others_are_shown_as_they_are_written() {
    assert_eq!(Shape::new("x", &[1; 64]).unwrap_err().code, Code::Shape);
    assert_eq!(format!("{:?}", Shape::new("x", &[2, 3]).unwrap()), "[2, 3]");
}

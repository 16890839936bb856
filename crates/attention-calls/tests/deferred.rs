//! Calls created on one thread and run on another, like those of the bindings, and errors in the form that bindings
//! throw.

use ruvector_attention::context::Observer;
use ruvector_attention::{Code, Shape};
use ruvector_attention_calls::{self as calls, Array, Builder, Outside, Owned, OwnedArray, Pending, number, to_json};

/// Receives progress, and cancels from the start if told to.
struct Watcher(bool);

impl Observer for Watcher {
    fn is_cancelled(&self) -> bool {
        self.0
    }

    fn progress(&self, _: f32) {}
}

const VALUES: [f32; 6] = [0.0, 1.0, -1.0, 2.0, 0.5, -3.0];

/// Creates a call over the values in this shape.
fn over(objects: &[u32], shape: &[usize]) -> Builder<'static> {
    let mut call = Builder::new(1, objects);
    call.add(Array::F32(&VALUES), shape);
    call
}

/// Runs the call created before, and returns its results.
fn finish(pending: &mut Pending) -> Vec<Vec<f32>> {
    let results = Owned::default();
    pending.run(&Watcher(false), Outside { arrays: &[Array::F32(&VALUES)], results: &results }).unwrap();
    floats(&results.into_arrays())
}

fn floats(results: &[OwnedArray]) -> Vec<Vec<f32>> {
    results.iter().map(|result| result.as_array().f32().unwrap().to_vec()).collect()
}

#[test]
fn a_call_that_runs_on_another_thread_gives_the_same_bits() {
    let expected = over(&[], &[2, 3]).run("softmax", None).unwrap();
    let expected = floats(&expected);
    let mut pending = Pending::new(number("softmax").unwrap(), over(&[], &[2, 3]).memory, None).unwrap();
    let found = std::thread::spawn(move || (finish(&mut pending), pending.memory().results)).join().unwrap();
    assert_eq!(found.0, expected);
    assert_eq!(found.1[..6], [1.0, -1.0, 2.0, 2.0, 3.0, -1.0]);
}

#[test]
fn a_pending_call_keeps_its_object_after_the_object_is_freed() {
    let config = r#"{"numHeads":1,"headDim":3,"seed":1}"#;
    let id = Builder::new(1, &[]).create("createSelfAttention", config).unwrap();
    let operation = number("multiHeadAttention").unwrap();
    let make = || over(&[id], &[1, 2, 3]);
    let expected = floats(&make().run("multiHeadAttention", None).unwrap());
    let mut pending = Pending::new(operation, make().memory, None).unwrap();
    calls::free(id);
    assert_eq!(finish(&mut pending), expected);
    assert!(Pending::new(operation, make().memory, None).is_err(), "the object is gone");
}

#[test]
fn unknown_operations_are_rejected_before_anything_runs() {
    let error = Pending::new(u32::MAX, over(&[], &[2, 3]).memory, None).err().unwrap();
    assert_eq!(error.code, Code::Internal);
}

#[test]
fn an_error_is_json_with_code_argument_expected_and_actual() {
    let error = Builder::new(1, &[]).create("createSelfAttention", r#"{"quote\"\\\n":1}"#).unwrap_err();
    let json = to_json(&error);
    assert!(json.starts_with(r#"{"code":"OPTION","argument":"quote\"\\\u000a","expected":""#), "{json}");
    assert!(json.ends_with(r#""}"#), "{json}");
    assert!(error.to_string().contains(": expected "), "{error}");

    let error = over(&[], &[5]).run("softmax", None).unwrap_err();
    assert!(to_json(&error).starts_with(r#"{"code":"SHAPE","#), "{}", to_json(&error));
    let names = [Code::Shape, Code::Dtype, Code::Option, Code::Domain, Code::Format, Code::Memory, Code::Internal];
    assert_eq!(names.map(Code::name), ["SHAPE", "DTYPE", "OPTION", "DOMAIN", "FORMAT", "MEMORY", "INTERNAL"]);
}

#[test]
fn too_many_dimensions_are_an_error_and_other_shapes_are_displayed_as_lists() {
    assert_eq!(Shape::new("x", &[1; 64]).unwrap_err().code, Code::Shape);
    assert_eq!(format!("{:?}", Shape::new("x", &[2, 3]).unwrap()), "[2, 3]");
}

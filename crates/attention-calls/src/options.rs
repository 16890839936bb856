//! A small serde format that reads options from JSON text and writes configurations to it.
//!
//! The format supports only the types that options use, and knows no ranges. A value of a wrong type becomes one that
//! no option accepts (NaN, 0, the least integer), so the mechanism's own check rejects it with its expectation.
//! [`shown`] then replaces the actual value in the error with the text that the caller wrote.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use ruvector_attention::error::alternatives;
use ruvector_attention::math::decimal::Decimal;
use ruvector_attention::ranges::LARGEST_EXACT_INTEGER;
use ruvector_attention::{Code, Error, Result};
use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Visitor};
use serde::ser::{self, Impossible, Serialize};
use serde::{Deserializer, Serializer, forward_to_deserialize_any};

use crate::error::{UNKNOWN_NAME, public_names};
use crate::json::{Json, Value};
use crate::operations::{Input, Role};

/// The names that a call accepts, in addition to the fields of its options.
#[derive(Clone, Copy, Default)]
pub struct Names<'a> {
    /// Inputs of the operation. Those passed as options are listed along with the fields.
    pub inputs: &'a [Input],
    /// True if `out` is an option.
    pub takes_out: bool,
    /// Fields of the struct that this call does not accept.
    pub without: &'a [&'a str],
}

/// Reads the options from a JSON object. Without a text, or for `null`, every option has its default.
///
/// # Errors
/// `OPTION` for an unknown name, and for a wrong type that no rejected value can represent.
pub fn read<'de, T: Deserialize<'de> + Default>(json: Option<&'de str>, names: Names<'de>) -> Result<T> {
    let Some(text) = json else { return Ok(T::default()) };
    from_json(&parse(text)?, names)
}

/// Reads the options like [`read`], and returns whether the option `name` is given.
///
/// # Errors
/// The same as [`read`].
pub fn read_with<'de, T: Deserialize<'de> + Default>(
    json: Option<&'de str>,
    names: Names<'de>,
    name: &str,
) -> Result<(T, bool)> {
    let Some(text) = json else { return Ok((T::default(), false)) };
    let json = parse(text)?;
    let is_given = json.member(name).is_some_and(|json| !json.is_null());
    from_json(&json, names).map(|options| (options, is_given))
}

fn from_json<'de, T: Deserialize<'de>>(json: &Json<'de>, names: Names<'de>) -> Result<T> {
    T::deserialize(Root { json, names }).map_err(|Fault(error)| error)
}

/// Returns the error with the value of its argument as the caller wrote it in the JSON.
#[cold]
pub fn shown(error: Error, json: Option<&str>) -> Error {
    if !error.is_value {
        return error;
    }
    let Ok(json) = Json::parse(json.unwrap_or("{}")) else { return error };
    let given = public_names(&error.argument).split('.').try_fold(&json, |json, name| json.member(name));
    let actual = match given {
        Some(Json { value: Value::Null, .. }) | None => "nothing".to_owned(),
        Some(given) => Written(given).to_string(),
    };
    error.showing(actual)
}

fn parse(text: &str) -> Result<Json<'_>> {
    Json::parse(text)
        .map_err(|at| Error::new(Code::Internal, "options", "a JSON text", format_args!("{text} up to byte {at}")))
}

type Read<T> = std::result::Result<T, Fault>;

/// An [`Error`] that implements serde's error traits.
#[derive(Debug)]
struct Fault(Error);

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// Returns the error for a struct that this format does not support.
    #[cold]
    #[inline(never)]
    fn unfit() -> Self {
        Self(Error::new(Code::Internal, "options", "a structure of options", "another"))
    }

    /// Returns the error for a name that occurs twice.
    #[cold]
    #[inline(never)]
    fn twice(name: &str) -> Self {
        Self(Error::option(name, "one option of this name", "two"))
    }
}

impl de::Error for Fault {
    #[cold]
    fn custom<T: Display>(_: T) -> Self {
        Self::unfit()
    }

    #[cold]
    #[inline(never)]
    fn duplicate_field(field: &'static str) -> Self {
        Self::twice(field)
    }

    #[cold]
    #[inline(never)]
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self(Error::option(field, format_args!("one of {}", expected.join(", ")), UNKNOWN_NAME))
    }

    /// Numbers of fields and variants that do not exist are not passed to any visitor.
    #[cold]
    #[inline(never)]
    fn invalid_value(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self::unfit()
    }

    /// An error without an argument; [`Given::deserialize_any`] adds the name and the value.
    #[cold]
    #[inline(never)]
    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(Error::option("", expected, ""))
    }
}

impl ser::Error for Fault {
    fn custom<T: Display>(_: T) -> Self {
        Self::unfit()
    }
}

/// A member of an object.
type Member<'de> = (Cow<'de, str>, Json<'de>);

/// The top-level object with all options.
#[derive(Clone, Copy)]
struct Root<'a, 'de> {
    json: &'a Json<'de>,
    names: Names<'a>,
}

/// A value and its name.
#[derive(Clone, Copy)]
struct Given<'a, 'de> {
    json: &'a Json<'de>,
    name: &'a str,
}

// Functions that are not generic stay out of line; otherwise each field of each struct would have its own copy.
impl<'a, 'de> Given<'a, 'de> {
    #[cold]
    #[inline(never)]
    fn fault(self, expected: &str) -> Fault {
        Fault(Error::option(self.name, expected, Written(self.json)))
    }

    /// Returns the number, or NaN if the value is not one.
    #[inline(never)]
    fn number(self) -> f64 {
        self.json.number().unwrap_or(f64::NAN)
    }

    /// Returns the integer, if a double represents it exactly.
    #[inline(never)]
    fn integer(self) -> Option<i64> {
        let number = self.number();
        (number.trunc() == number && number.abs() <= LARGEST_EXACT_INTEGER as f64).then_some(number as i64)
    }

    /// Returns a count. One that exceeds memory saturates, and is rejected later with the sizes computed from it.
    #[inline(never)]
    fn count(self) -> u64 {
        let integer = self.integer().and_then(|integer| u64::try_from(integer).ok());
        integer.unwrap_or(0).min(usize::MAX as u64)
    }

    #[inline(never)]
    fn boolean(self) -> Read<bool> {
        match self.json.value {
            Value::Boolean(value) => Ok(value),
            _ => Err(self.fault("a boolean")),
        }
    }

    /// Returns the number of the variant with this name.
    #[inline(never)]
    fn choice(self, variants: &[&str]) -> Read<u32> {
        let number = self.json.string().and_then(|text| variants.iter().position(|&variant| variant == text));
        number.map(|number| number as u32).ok_or_else(|| self.fault(&alternatives(variants)))
    }

    /// Returns the values of a struct's fields. The names in the object must all be fields or accepted names.
    #[inline(never)]
    fn fields(self, names: Names<'_>, fields: &'static [&'static str]) -> Read<Fields<'a, 'de>> {
        let Some(members) = self.json.members() else {
            return Err(match self.name {
                OPTIONS => self.fault("an object"),
                _ => self.fault(&format!("an object {{ {} }}", fields.join(", "))),
            });
        };
        let Names { inputs, takes_out, without } = names;
        let is_known = |name: &str| fields.contains(&name) && !without.contains(&name);
        if let Some((name, _)) = members.iter().find(|(name, _)| !is_known(name)) {
            let arrays = inputs.iter().filter(|input| input.role == Role::Option).map(|input| input.name);
            let known = fields.iter().filter(|field| !without.contains(field)).copied().chain(arrays);
            let known: Vec<&str> = known.chain(takes_out.then_some("out")).collect();
            let expected = format_args!("one of {}", known.join(", "));
            return Err(Fault(Error::option(name, expected, UNKNOWN_NAME)));
        }
        let given = || members.iter().enumerate().filter(|(_, (_, json))| !json.is_null());
        let is_earlier = |at: usize, name: &str| given().any(|(other, (found, _))| other < at && found == name);
        if let Some((_, (name, _))) = given().find(|&(at, (name, _))| is_earlier(at, name)) {
            return Err(Fault::twice(name));
        }
        Ok(Fields { rest: fields.iter(), members })
    }
}

/// The argument named in errors about the whole object.
const OPTIONS: &str = "options";

/// The values of a struct's fields, in the order of its declaration. An absent one does not end the sequence: serde's
/// visitor then takes the field of the struct's default. Visitors of sequences take half the code of those of maps.
struct Fields<'a, 'de> {
    rest: std::slice::Iter<'static, &'static str>,
    members: &'a [Member<'de>],
}

impl<'a, 'de> Fields<'a, 'de> {
    #[inline(never)]
    fn next(&mut self) -> Option<Given<'a, 'de>> {
        let &field = self.rest.next()?;
        let (name, json) = self.members.iter().find(|(name, json)| name == field && !json.is_null())?;
        Some(Given { json, name })
    }
}

impl<'de> de::SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Fault;

    // Fields of the same type in different structs share one copy.
    #[inline(never)]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Read<Option<T::Value>> {
        self.next().map(|given| seed.deserialize(given)).transpose()
    }
}

/// The members of an object that is one form of an option, without those that are `null`.
struct Members<'a, 'de> {
    rest: std::slice::Iter<'a, Member<'de>>,
    value: Option<&'a Member<'de>>,
}

impl<'a, 'de> Members<'a, 'de> {
    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        self.value = self.rest.find(|(_, json)| !json.is_null());
        self.value.map(|(name, _)| &**name)
    }
}

impl<'de> de::MapAccess<'de> for Members<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Read<Option<K::Value>> {
        let Some(name) = self.next() else { return Ok(None) };
        let name: StrDeserializer<'_, Fault> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    #[inline(never)]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Read<V::Value> {
        match self.value {
            Some((name, json)) => seed.deserialize(Given { json, name }),
            None => Err(Fault::unfit()),
        }
    }
}

/// The items of a list whose length the type or the visitor fixes. Missing items read as `null`, which no option
/// accepts as an integer.
struct Items<'a, 'de> {
    given: Given<'a, 'de>,
    items: &'a [Json<'de>],
    next: usize,
}

static NOTHING: Json<'static> = Json { text: "null", value: Value::Null };

impl<'de> de::SeqAccess<'de> for Items<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Read<Option<T::Value>> {
        let json = self.items.get(self.next).unwrap_or(&NOTHING);
        self.next += 1;
        seed.deserialize(Given { json, ..self.given }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        self.items.len().checked_sub(self.next)
    }
}

impl<'de> Deserializer<'de> for Root<'_, 'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Read<V::Value> {
        Err(Fault::unfit())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        visitor.visit_seq(Given { json: self.json, name: OPTIONS }.fields(self.names, fields)?)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for Given<'_, 'de> {
    type Error = Fault;

    /// Reads an option of more than one form.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        let found = match &self.json.value {
            Value::Null => visitor.visit_unit(),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Number => visitor.visit_f64(self.number()),
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(Items { given: self, items, next: 0 }),
            Value::Object(members) => visitor.visit_map(Members { rest: members.iter(), value: None }),
        };
        found.map_err(|Fault(error)| match &*error.argument {
            "" => self.fault(&error.expected),
            _ => Fault(error.within(self.name)),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_i64(self.integer().unwrap_or(i64::MIN))
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_u8(u8::try_from(self.count()).unwrap_or(0))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_u64(self.count())
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_f32(self.number() as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_f64(self.number())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Read<V::Value> {
        let items = self.json.items().filter(|items| items.len() == length).unwrap_or_default();
        visitor.visit_seq(Items { given: self, items, next: 0 })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        let variant: U32Deserializer<Fault> = self.choice(variants)?.into_deserializer();
        visitor.visit_enum(variant)
    }

    /// Errors about a member of a nested object name both objects.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        let within = |fault: Fault| Fault(fault.0.within(self.name));
        if self.json.members().is_none() {
            return Err(self.fields(Names::default(), fields).err().unwrap_or_else(Fault::unfit));
        }
        let fields = self.fields(Names::default(), fields).map_err(within)?;
        visitor.visit_seq(fields).map_err(within)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u16 u32 u128 char str string bytes byte_buf unit unit_struct newtype_struct seq tuple_struct map
        identifier ignored_any
    }
}

/// A value as the caller wrote it: JSON, except for numbers that JSON cannot represent and texts too long to repeat.
struct Written<'a, 'de>(&'a Json<'de>);

impl Display for Written<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        if let Some(text @ ("NaN" | "Infinity" | "-Infinity")) = self.0.string() {
            return f.write_str(text);
        }
        let text = self.0.text;
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => f.write_str(text.get(..end).unwrap_or_default()).and_then(|()| f.write_str("…")),
            None => f.write_str(text),
        }
    }
}

/// Writes a configuration as a JSON object.
///
/// # Errors
/// `INTERNAL` for a type that configurations do not use.
pub fn write(config: &impl Serialize) -> Result<String> {
    let mut json = String::new();
    config.serialize(Writer(&mut json)).map_err(|Fault(error)| error)?;
    Ok(json)
}

/// Appends values to a JSON text.
struct Writer<'a>(&'a mut String);

impl Writer<'_> {
    #[inline(never)]
    fn text(self, text: &dyn Display) -> Read<()> {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{text}");
        Ok(())
    }
}

macro_rules! written {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, value: $type) -> Read<()> {
            self.text(&value)
        }
    )*};
}

macro_rules! unfit {
    ($($method:ident($($type:ty),*) -> $result:ty;)*) => {$(
        fn $method(self, $(_: $type),*) -> Read<$result> {
            Err(Fault::unfit())
        }
    )*};
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Impossible<(), Fault>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = Impossible<(), Fault>;
    type SerializeTupleVariant = Impossible<(), Fault>;
    type SerializeMap = Impossible<(), Fault>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Impossible<(), Fault>;

    written!(serialize_bool: bool, serialize_u8: u8, serialize_u64: u64, serialize_i64: i64);

    fn serialize_f32(self, value: f32) -> Read<()> {
        self.text(&Decimal::from(value))
    }

    fn serialize_f64(self, value: f64) -> Read<()> {
        self.text(&Decimal::from(value))
    }

    fn serialize_none(self) -> Read<()> {
        self.text(&"null")
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Read<()> {
        value.serialize(self)
    }

    fn collect_str<T: ?Sized + Display>(self, _: &T) -> Read<()> {
        Err(Fault::unfit())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Read<()> {
        self.text(&format_args!("\"{variant}\""))
    }

    fn serialize_tuple(self, _: usize) -> Read<List<'a>> {
        self.0.push('[');
        Ok(List(self.0))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Read<Object<'a>> {
        self.0.push('{');
        Ok(Object(self.0))
    }

    unfit! {
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, _: &T) -> Read<()> {
        Err(Fault::unfit())
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Read<()> {
        Err(Fault::unfit())
    }
}

/// The entries of a list under construction.
struct List<'a>(&'a mut String);

impl ser::SerializeTuple for List<'_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Read<()> {
        if !self.0.ends_with('[') {
            self.0.push(',');
        }
        value.serialize(Writer(self.0))
    }

    fn end(self) -> Read<()> {
        self.0.push(']');
        Ok(())
    }
}

/// The members of an object under construction.
struct Object<'a>(&'a mut String);

impl ser::SerializeStruct for Object<'_> {
    type Ok = ();
    type Error = Fault;

    #[inline(never)]
    fn serialize_field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Read<()> {
        let comma = if self.0.ends_with('{') { "" } else { "," };
        Writer(self.0).text(&format_args!("{comma}\"{name}\":"))?;
        value.serialize(Writer(self.0))
    }

    fn end(self) -> Read<()> {
        self.0.push('}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::OPERATIONS;
    use ruvector_attention::options::{AttentionConfig, AttentionOptions, Layout};

    #[test]
    fn absent_and_null_options_take_their_defaults() {
        let nulls = r#"{"layout":null,"causal":null,"queryOffset":null,"window":null,"scale":null,"softcap":null,
            "dropout":null,"seed":null,"weights":null,"topWeights":null,"logSumExp":null,"blockSize":null}"#;
        for json in [None, Some("{}"), Some(nulls)] {
            assert_eq!(read::<AttentionOptions>(json, Names::default()), Ok(AttentionOptions::default()));
        }
        let names = Names { without: &["stage"], ..Names::default() };
        assert!(read::<AttentionOptions>(Some(r#"{"stage":null}"#), names).is_err());
    }

    #[test]
    fn every_option_is_read() {
        let json = r#"{"layout":"blhd","causal":true,"queryOffset":-3,"window":[1e3,-1.0],"scale":0,"softcap":-0.0,
            "dropout":0.25,"seed":9007199254740991,"weights":true,"topWeights":2.0,"logSumExp":true}"#;
        let expected = AttentionOptions {
            layout: Layout::Blhd,
            causal: true,
            query_offset: Some(-3),
            window: Some([1000, -1]),
            scale: Some(0.0),
            softcap: 0.0,
            dropout: 0.25,
            seed: (1 << 53) - 1,
            weights: true,
            top_weights: Some(2),
            log_sum_exp: true,
            stage: None,
            block_size: None,
        };
        assert_eq!(read(Some(json), Names::default()), Ok(expected));
        let json = r#"{"causal":null}"#;
        assert!(!read_with::<AttentionOptions>(Some(json), Names::default(), "causal").unwrap().1);
        let json = r#"{"causal":false}"#;
        assert!(read_with::<AttentionOptions>(Some(json), Names::default(), "causal").unwrap().1);
    }

    #[test]
    fn an_unknown_name_is_reported_with_the_known_options() {
        let names = Names { inputs: OPERATIONS[0].inputs, takes_out: true, without: &["stage"] };
        for name in ["isCausal", "attn_mask", "kvLength", "stage"] {
            let json = format!(r#"{{"{name}":true}}"#);
            let error = read::<AttentionOptions>(Some(&json), names).unwrap_err();
            assert_eq!((error.code, &*error.argument, &*error.actual), (Code::Option, name, "an unknown name"));
            let known: Vec<&str> = error.expected.strip_prefix("one of ").unwrap().split(", ").collect();
            assert!(["causal", "dropout", "mask", "kvLengths", "out"].iter().all(|name| known.contains(name)));
            assert!(!known.contains(&"stage"));
        }
    }

    #[test]
    fn texts_that_are_not_options_are_rejected() {
        let fault = |json| read::<AttentionOptions>(Some(json), Names::default()).unwrap_err();
        assert_eq!(fault("{").code, Code::Internal);
        let error = fault("[1]");
        assert_eq!((&*error.argument, &*error.expected, &*error.actual), ("options", "an object", "[1]"));
        assert_eq!(fault(r#"{"seed":1,"seed":2}"#).argument, "seed");
    }

    #[test]
    fn a_configuration_is_written_in_the_form_that_is_read() {
        let json = r#"{"numHeads":2,"headDim":6,"dropout":0.1,"seed":7,"rotary":{"base":10000.5}}"#;
        let config = read::<AttentionConfig>(Some(json), Names::default()).unwrap().resolved().unwrap();
        let written = write(&config).unwrap();
        assert_eq!(
            written,
            r#"{"numHeads":2,"headDim":6,"modelDim":12,"kvHeads":2,"kDim":12,"vDim":12,"useBias":true,"dropout":0.1,"seed":7,"rotary":{"base":10000.5,"interleaved":false,"dim":6}}"#
        );
        assert_eq!(read(Some(&written), Names::default()), Ok(config));
    }

    #[test]
    fn long_values_are_shortened_in_errors() {
        let text = format!("\"{}\"", "é".repeat(500));
        assert_eq!(Written(&Json::parse(&text).unwrap()).to_string().chars().count(), 61);
    }
}

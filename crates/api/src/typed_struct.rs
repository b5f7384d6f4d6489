//! The two spellings of a struct that stands for a message of a named type. Both have the same fields.

/// `xds.type.v3.TypedStruct`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct XdsTypedStruct {
    /// Type URL of the message that `value` stands for.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message, as JSON-like data.
    #[prost(message, optional, tag = "2")]
    pub value: Option<prost_types::Struct>,
}

impl prost::Name for XdsTypedStruct {
    const NAME: &'static str = "TypedStruct";
    const PACKAGE: &'static str = "xds.type.v3";
    fn type_url() -> String {
        crate::type_url::XDS_TYPED_STRUCT.into()
    }
}

/// `udpa.type.v1.TypedStruct`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UdpaTypedStruct {
    /// Type URL of the message that `value` stands for.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message, as JSON-like data.
    #[prost(message, optional, tag = "2")]
    pub value: Option<prost_types::Struct>,
}

impl prost::Name for UdpaTypedStruct {
    const NAME: &'static str = "TypedStruct";
    const PACKAGE: &'static str = "udpa.type.v1";
    fn type_url() -> String {
        crate::type_url::UDPA_TYPED_STRUCT.into()
    }
}

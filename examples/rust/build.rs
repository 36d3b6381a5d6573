//! Makes the Rust code of the wire format from the published schema.

fn main() {
    let schema = "../../python/spanwire/envelope.capnp"; // or what `spanwire schema` prints
    println!("cargo::rerun-if-changed={schema}");
    capnpc::CompilerCommand::new().src_prefix("../../python/spanwire").file(schema).run().expect("capnp");
}

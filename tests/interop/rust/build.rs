//! Makes the Rust code of the wire format from the published schema.

fn main() {
    let folder = "../../../python/spanwire";
    let schema = format!("{folder}/envelope.capnp");
    println!("cargo::rerun-if-changed={schema}");
    capnpc::CompilerCommand::new().src_prefix(folder).file(&schema).run().expect("capnp");
}

//! The journal on NATS JetStream. The only module that names `async-nats`.

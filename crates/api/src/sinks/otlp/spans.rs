//! Spans as OTLP has them on the wire. Field numbers: `opentelemetry/proto/trace/v1`.

use crate::sinks::{
    batch::Spec,
    port::Batch,
    protobuf::Message,
    span::{Said, Sort, Span},
};

// Field numbers of `Span`, and of its `Event`.
const TRACE_ID: u64 = 1;
const SPAN_ID: u64 = 2;
const PARENT: u64 = 4;
const NAME: u64 = 5;
const KIND: u64 = 6;
const BEGIN: u64 = 7;
const END: u64 = 8;
const ATTRIBUTES: u64 = 9;
const EVENTS: u64 = 11;
const EVENTS_DROPPED: u64 = 12;
const FLAGS: u64 = 16;
const EVENT_TIME: u64 = 1;
const EVENT_NAME: u64 = 2;
const EVENT_ATTRIBUTES: u64 = 3;

// Kinds of spans.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;

/// `ExportTraceServiceRequest` with every span of a batch; `None` if it has none.
pub fn request(batch: &Batch, spec: &Spec, resource: &Message) -> Option<Vec<u8>> {
    let spans = batch.spans();
    spans.clone().next()?;
    let (mut of, mut scoped, mut request) =
        (Message::default(), Message::default(), Message::default());
    let mut scope = Message::default();
    scope.bytes(1, b"countersign/spans");
    scope.bytes(2, b"spans/1");
    // What a receiver needs to find what is missing, beside the spans and not in each.
    for (key, number) in [
        ("countersign.batch.from", batch.head.from),
        ("countersign.batch.to", batch.head.to),
        ("countersign.batch.spans", spans.clone().count() as u64),
    ] {
        scope.counted(3, key, number);
    }
    scoped.message(1, &scope);
    for span in spans {
        scoped.message(2, &written(span));
    }
    scoped.bytes(3, spec.traces.map_or("", |names| names.schema_url()).as_bytes());
    of.message(1, resource);
    of.message(2, &scoped);
    request.message(1, &of);
    Some(request.into_bytes())
}

fn written(span: &Span) -> Message {
    let mut made = Message::default();
    made.bytes(TRACE_ID, &span.trace);
    made.bytes(SPAN_ID, &span.id);
    made.bytes(PARENT, span.parent.as_ref().map_or(&[], |id| id.as_slice()));
    made.bytes(NAME, span.name.as_bytes());
    made.number(KIND, if span.sort == Sort::Ours { SERVER } else { INTERNAL });
    made.fixed64(BEGIN, span.time.0);
    made.fixed64(END, span.time.1);
    for (key, said) in &span.attributes {
        match said {
            Said::Text(text) => made.pair(ATTRIBUTES, key, text),
            Said::Number(number) => made.counted(ATTRIBUTES, key, *number),
            Said::Texts(texts) => made.listed(ATTRIBUTES, key, texts),
        }
    }
    for (time, name, index) in &span.events {
        let mut event = Message::default();
        event.fixed64(EVENT_TIME, *time);
        event.bytes(EVENT_NAME, name.as_bytes());
        event.counted(EVENT_ATTRIBUTES, "countersign.index", *index);
        made.message(EVENTS, &event);
    }
    made.number(EVENTS_DROPPED, span.events_dropped);
    made.fixed32(FLAGS, span.flags);
    made
}

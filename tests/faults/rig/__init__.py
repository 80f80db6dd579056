"""What the fault tests share beside `support`.

    proofs   RFC 6962, signed notes and receipts, written from the specifications
    load     clients that publish for as long as they are told, retry, and remember every answer
    audit    what must hold of a log after whatever happened
    shim     one chosen system call of the server fails, happens and fails, or is its last
    trace    strace: reading what the server did, in order
    broker   a nats-server with accounts and old copies of its store; raw publishers
    backdate stored messages of a nats-server become older
"""

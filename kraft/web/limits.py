"""The limits of the HTTP port. It serves scrapers, load balancers and people: few clients, short requests."""

CONNECTIONS_MAX = 64  # some scrapers and probes with a persistent connection each, and some browsers
BUSY_MAX = 48  # requests being answered; all other connections wait for their client, and can give way
WRONG_SECONDS = 0.25  # from a wrong token to the answer, as to a wrong password on the client port
WRONG_WAITING_MAX = 8  # such answers at a time, far below BUSY_MAX; more of them come at once, as 429
URL_BYTES_MAX = 1024  # the longest real one is `/readyz?sync`
HEAD_SECONDS = 10.0  # from a new connection, or the first byte of a later request, to the end of its head
IDLE_SECONDS = 60.0  # longer than common probe intervals, so that a connection serves several probes
KEEPALIVE_SECONDS = 60.0  # then a silent host is probed: an event stream may be idle for as long as it likes
ANSWER_SECONDS = 30.0  # for the client to read an answer, beyond what fits into the buffers of the systems
CLOSE_SECONDS = 5.0  # for the client to read the last answer before the connection is aborted
DISCARDED_BYTES_MAX = 1 << 20  # read and dropped after a refusal, so that the client sees the refusal
SLICE_SECONDS = 0.002  # the reactor works on a body at a stretch
WORK_SHARE = 0.1  # the part of the reactor's time that one page may take, however often it is requested
PAUSE_SECONDS_MAX = 1.0  # between two bodies of one page, whatever they cost
SUBSCRIBERS_MAX = 16  # open pages that receive updates; far below the number of connections
SUBSCRIBER_STALLED_SECONDS = 30.0  # without reading, before a page is disconnected; it connects again
ROUND_SECONDS = 1.0  # between two rounds of requests to the other nodes, however many look
RANGE_WANTED_SECONDS = 3.0  # a time range that somebody looked at is asked for; longer than ASK_SECONDS
ASK_SECONDS = 2.0  # for one answer, from dialling to its last byte
ASK_LINGER_SECONDS = 10  # that an idle connection to another node stays open; longer than ROUND_SECONDS
ANSWER_BYTES_MAX = 4 << 20  # from another node: fifty times the report of a node in a cluster of nine

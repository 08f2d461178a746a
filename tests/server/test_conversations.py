"""One client at a time: every command's replies and error texts, as lines `request => reply`.

A reply is written with Python's escapes, without its last line end; each block is one connection on an
empty keyspace.
"""

# ruff: noqa: E501  # a line of a script stays one line

import pytest

from tests.server.fakes import Port

STRINGS = r"""
SET a 1 => +OK
GET a => $1\r\n1
get a => $1\r\n1
GET missing => $-1
SET a 2 NX => $-1
SET b 2 XX => $-1
SET b 2 nx => +OK
SET b 3 XX GET => $1\r\n2
SET c 1 NX GET => $-1
SET c 2 GET NX => $1\r\n1
GET c => $1\r\n1
SETNX c 9 => :0
SETNX d 9 => :1
MGET a nothing b => *3\r\n$1\r\n1\r\n$-1\r\n$1\r\n3
MSET x 1 y 2 => +OK
MGET x y => *2\r\n$1\r\n1\r\n$1\r\n2
GETDEL x => $1\r\n1
GETDEL x => $-1
APPEND y bc => :3
STRLEN y => :3
STRLEN x => :0
INCR n => :1
INCRBY n 10 => :11
DECR n => :10
DECRBY n 4 => :6
INCRBY n -6 => :0
EXISTS a a nothing => :2
DEL a b nothing => :2
UNLINK c => :1
TYPE y => +string
TYPE a => +none
DBSIZE => :3
kvstore-set s v => +OK
kvstore-get s => $1\r\nv
"""

RANGES = r"""
SET a Hello_World => +OK
SETRANGE a 6 Redis => :11
GET a => $11\r\nHello_Redis
SETRANGE a 9 grow => :13
GETRANGE a 0 -1 => $13\r\nHello_Redgrow
SETRANGE a 0  => :13
SETRANGE a 999  => :13
SETRANGE missing 5  => :0
EXISTS missing => :0
SETRANGE b 3 x => :4
GET b => $4\r\n\x00\x00\x00x
SET c abc EX 100 => +OK
setrange c 1 X => :3
TTL c => :100
GET c => $3\r\naXc
SETRANGE b -1 x => -ERR offset is out of range
SETRANGE b -1  => -ERR offset is out of range
SETRANGE b one x => -ERR value is not an integer or out of range
SETRANGE b 9223372036854775808 x => -ERR value is not an integer or out of range
SETRANGE b 9223372036854775807 x => -ERR value exceeds limit of 1048576 bytes
SETRANGE b 1048576 x => -ERR value exceeds limit of 1048576 bytes
SETRANGE b 1048575 x => :1048576
SETRANGE b 1 => -ERR wrong number of arguments for 'setrange' command
GETRANGE a 0 4 => $5\r\nHello
GETRANGE a 6 8 => $3\r\nRed
GETRANGE a -4 -1 => $4\r\ngrow
GETRANGE a -4 -3 => $2\r\ngr
GETRANGE a -100 4 => $5\r\nHello
GETRANGE a 6 100 => $7\r\nRedgrow
GETRANGE a 5 3 => $0\r\n
GETRANGE a 100 200 => $0\r\n
GETRANGE a -1 -2 => $0\r\n
GETRANGE a 0 -100 => $1\r\nH
GETRANGE a -100 -200 => $0\r\n
GETRANGE a -200 -100 => $1\r\nH
GETRANGE missing 0 -1 => $0\r\n
SUBSTR a 0 4 => $5\r\nHello
GETRANGE a 0 x => -ERR value is not an integer or out of range
GETRANGE a 0 => -ERR wrong number of arguments for 'getrange' command
SUBSTR a 0 => -ERR wrong number of arguments for 'substr' command
COMMAND GETKEYS SETRANGE k 0 v => *1\r\n$1\r\nk
"""

CONDITIONS = r"""
GETSET a 1 => $-1
GETSET a 2 => $1\r\n1
SET a 3 EX 100 => +OK
GETSET a 4 => $1\r\n3
TTL a => :-1
GETEX a => $1\r\n4
GETEX a EX 100 => $1\r\n4
TTL a => :100
GETEX a => $1\r\n4
TTL a => :100
GETEX a PERSIST => $1\r\n4
TTL a => :-1
GETEX a PXAT 1 => $1\r\n4
EXISTS a => :0
GETEX a => $-1
GETEX a KEEPTTL => -ERR syntax error
GETEX a EX 0 => -ERR invalid expire time in 'getex' command
MSETNX a 1 b 2 => :1
MSETNX b 3 c 4 => :0
MGET a b c => *3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1
MSETNX a => -ERR wrong number of arguments for 'msetnx' command
MSETNX a 1 b => -ERR wrong number of arguments for 'msetnx' command
MSETEX 2 x 1 y 2 EX 100 => :1
TTL y => :100
MSETEX 2 x 5 z 6 NX => :0
MSETEX 2 x 5 z 6 XX => :0
MSETEX 2 x 5 y 6 XX KEEPTTL => :1
MGET x y => *2\r\n$1\r\n5\r\n$1\r\n6
TTL x => :100
MSETEX 1 x 7 => :1
TTL x => :-1
MSETEX 1 x 7 PXAT 1 => :1
EXISTS x => :0
MSETEX 0 x 7 => -ERR invalid numkeys value
MSETEX 2 x 7 => -ERR wrong number of key-value pairs
MSETEX 1 x 7 GET => -ERR syntax error
COMMAND GETKEYS MSETEX 2 x 1 y 2 EX 100 => *2\r\n$1\r\nx\r\n$1\r\ny
SET a 10 IFEQ 1 => +OK
SET a 11 IFEQ 1 => $-1
SET a 11 IFEQ 1 GET => $2\r\n10
SET a 11 GET IFNE 1 => $2\r\n10
SET a 12 IFNE 11 => $-1
SET missing 1 IFEQ 1 => $-1
SET missing 1 IFNE 1 EX 100 => +OK
TTL missing => :100
SET a 1 IFEQ => -ERR syntax error
SET a 1 IFEQ 1 NX => -ERR syntax error
DELEX a IFEQ 10 => :0
DELEX a IFNE 11 => :0
DELEX a IFEQ 11 => :1
DELEX a IFEQ 11 => :0
DELEX a IFNE 11 => :0
DELEX missing => :1
DELEX a IFGT 1 => -ERR syntax error
DELIFEQ b 1 => :0
DELIFEQ b 2 => :1
COMMAND GETKEYSANDFLAGS DELEX a IFEQ b => *1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+delete
"""

FLOATS = r"""
SET a 10.50 => +OK
INCRBYFLOAT a 0.1 => $4\r\n10.6
INCRBYFLOAT a -5 => $3\r\n5.6
SET a 5.0e3 EX 100 => +OK
INCRBYFLOAT a 2.0e2 => $4\r\n5200
TTL a => :100
INCRBYFLOAT new 1 => $1\r\n1
INCRBYFLOAT a x => -ERR value is not a valid float
SET b x => +OK
INCRBYFLOAT b 1 => -ERR value is not a valid float
INCRBYFLOAT b inf => -ERR value is not a valid float
INCRBYFLOAT a inf => -ERR increment would produce NaN or Infinity
INCRBYFLOAT a nan => -ERR value is not a valid float
"""

BITS = r"""
SETBIT a 7 1 => :0
SETBIT a 7 0 => :1
GET a => $1\r\n\x00
SETBIT a 0 1 => :0
GETBIT a 0 => :1
GETBIT a 1000 => :0
GETBIT missing 0 => :0
SETBIT a -1 1 => -ERR bit offset is not an integer or out of range
SETBIT a 4294967296 1 => -ERR bit offset is not an integer or out of range
SETBIT a 4294967295 1 => -ERR value exceeds limit of 1048576 bytes
SETBIT a 8388608 1 => -ERR value exceeds limit of 1048576 bytes
SETBIT a 0 2 => -ERR bit is not an integer or out of range
STRLEN a => :1
SET b foobar => +OK
BITCOUNT b => :26
BITCOUNT b 0 0 => :4
BITCOUNT b 5 30 BIT => :17
BITCOUNT b 0 => -ERR syntax error
BITPOS b 1 => :1
BITPOS b 0 => :0
BITPOS b 1 2 => :17
BITPOS missing 0 => :0
BITPOS missing 1 => :-1
BITOP AND c b a => :6
BITOP NOT c b a => -ERR BITOP NOT must be called with a single source key.
BITOP NOT c missing => :0
EXISTS c => :0
BITOP NAND c b => -ERR syntax error
BITFIELD f INCRBY i5 100 1 GET u4 0 => *2\r\n:1\r\n:0
BITFIELD f OVERFLOW FAIL SET u2 102 9 => *1\r\n$-1
BITFIELD f OVERFLOW SAT SET u2 102 9 GET u2 102 => *2\r\n:0\r\n:3
BITFIELD f GET u64 0 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
BITFIELD f SET u8 8388608 1 => -ERR value exceeds limit of 1048576 bytes
BITFIELD_RO f GET u8 96 => *1\r\n:3
BITFIELD_RO f SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand
COMMAND GETKEYSANDFLAGS BITOP AND d x y => *3\r\n*2\r\n$1\r\nd\r\n*2\r\n+OW\r\n+update\r\n*2\r\n$1\r\nx\r\n*2\r\n+RO\r\n+access\r\n*2\r\n$1\r\ny\r\n*2\r\n+RO\r\n+access
"""

NAMES_OF_KEYS = r"""
SET a 1 EX 100 => +OK
RENAME a b => +OK
TTL b => :100
RENAME a b => -ERR no such key
RENAMENX a b => -ERR no such key
SET a 2 => +OK
RENAMENX a b => :0
RENAMENX b c => :1
RENAME c c => +OK
RENAMENX c c => :0
COPY c a => :0
COPY c a REPLACE => :1
TTL a => :100
COPY missing x => :0
COPY c d DB 0 => :1
COPY c d DB 1 => -ERR DB index is out of range
COPY c c => -ERR source and destination objects are the same
TOUCH a b c c => :3
OBJECT ENCODING a => $3\r\nint
OBJECT ENCODING missing => $-1
OBJECT REFCOUNT a => :1
OBJECT IDLETIME a => -ERR idle time is not tracked, because keys are never evicted
OBJECT NOSUCH a => -ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP.
MEMORY USAGE missing => $-1
MEMORY USAGE a SAMPLES 0 => :401
MEMORY USAGE a SAMPLES => -ERR syntax error
COMMAND GETKEYS OBJECT ENCODING a => *1\r\n$1\r\na
KRAFT REV missing => :0
KRAFT CAS k 1 v => $-1
KRAFT CAS k 0 v => :7
KRAFT REV k => :7
KRAFT CAS k 7 w => :8
KRAFT CAS k 7 x => $-1
GET k => $1\r\nw
KRAFT CAS k -1 x => -ERR a revision is not negative; 0 means that the key does not exist
"""

LOCKS = r"""
KRAFT LOCK l 30000 => :1
KRAFT LOCK l 30000 => $-1
KRAFT REV l => :1
PTTL l => :30000
SET a 1 => +OK
KRAFT GUARD l 1 SET k v => +OK
kraft guard l 1 set k w GET => $1\r\nv
KRAFT GUARD l 1 SETNX k w => :0
KRAFT GUARD l 1 APPEND k w => :2
KRAFT GUARD l 1 MSET x 1 y 2 => +OK
KRAFT GUARD l 1 MSETEX 1 z 3 => :1
KRAFT GUARD l 1 INCR k => -ERR value is not an integer or out of range
KRAFT GUARD l 1 KRAFT CAS c 0 v => :8
KRAFT GUARD l 1 RENAME nothing k => -ERR no such key
KRAFT GUARD l 2 SET k v => -LOCKLOST the lock is not held with this token; nothing was written. Stop this work: another client may do it now. KRAFT LOCK gives a new token
KRAFT GUARD none 1 SET k v => -LOCKLOST the lock is not held with this token; nothing was written. Stop this work: another client may do it now. KRAFT LOCK gives a new token
GET k => $2\r\nww
KRAFT GUARD l 1 GET k => -ERR KRAFT GUARD name token is followed by a command that writes, such as SET key value
KRAFT GUARD l 1 KRAFT GUARD l 1 => -ERR KRAFT GUARD name token is followed by a command that writes, such as SET key value
KRAFT GUARD l 1 SET k => -ERR wrong number of arguments for 'kraft|guard' command
KRAFT GUARD l 1 SET k v EX => -ERR syntax error
KRAFT GUARD l 0 SET k v => -ERR a token is a positive integer: the reply of KRAFT LOCK
KRAFT GUARD l x GET k => -ERR a token is a positive integer: the reply of KRAFT LOCK
KRAFT EXTEND l 1 60000 => :1
PTTL l => :60000
KRAFT EXTEND l 2 60000 => :0
KRAFT EXTEND l 1 0 => -ERR invalid expire time in 'kraft|extend' command
KRAFT UNLOCK l 2 => :0
KRAFT UNLOCK l 1 => :1
KRAFT UNLOCK l 1 => :0
KRAFT UNLOCK l one => -ERR a token is a positive integer: the reply of KRAFT LOCK
KRAFT LOCK l 30000 OWNER me => :10
GET l => $2\r\nme
KRAFT LOCK l 10000 owner me => :10
PTTL l => :10000
KRAFT LOCK l 30000 OWNER you => $-1
KRAFT LOCK l 30000 OWNER => -ERR syntax error
KRAFT LOCK l 30000 FOR me => -ERR syntax error
KRAFT LOCK l 0 => -ERR invalid expire time in 'kraft|lock' command
KRAFT LOCK l soon => -ERR value is not an integer or out of range
KRAFT LOCK l => -ERR wrong number of arguments for 'kraft|lock' command
DEL l => :1
KRAFT LOCK l 30000 => :12
COMMAND GETKEYS KRAFT LOCK l 1 => *1\r\n$1\r\nl
"""

EXPIRY = r"""
SET a 1 EX 100 => +OK
TTL a => :100
PTTL a => :100000
EXPIRETIME a => :1700000100
PEXPIRETIME a => :1700000100000
SET a 2 KEEPTTL => +OK
TTL a => :100
SET a 3 => +OK
TTL a => :-1
TTL missing => :-2
PTTL missing => :-2
SET a 1 px 1499 => +OK
TTL a => :1
PTTL a => :1499
PERSIST a => :1
PERSIST a => :0
SET a 1 EXAT 1700000050 => +OK
TTL a => :50
SET a 1 PXAT 1700000050500 => +OK
PTTL a => :50500
EXPIRE a 10 => :1
EXPIRE a 20 NX => :0
EXPIRE a 5 GT => :0
EXPIRE a 5 LT => :1
EXPIRE a 60 XX GT => :1
EXPIRE missing 5 => :0
PEXPIRE a 1500 => :1
PTTL a => :1500
EXPIREAT a 1700000007 => :1
TTL a => :7
PEXPIREAT a 1700000008000 => :1
TTL a => :8
EXPIRE a -1 => :1
EXISTS a => :0
SETEX a 9 v => +OK
TTL a => :9
PSETEX a 9000 v => +OK
TTL a => :9
SET a 1 EXAT 1 => +OK
GET a => $-1
"""

ERRORS = r"""
LPUSH k v => -ERR unknown command 'LPUSH', with args beginning with: 'k' 'v'\x20
NOSUCH => -ERR unknown command 'NOSUCH', with args beginning with:\x20
GET => -ERR wrong number of arguments for 'get' command
get a b => -ERR wrong number of arguments for 'get' command
SET a => -ERR wrong number of arguments for 'set' command
MSET a 1 b => -ERR wrong number of arguments for 'mset' command
PING a b => -ERR wrong number of arguments for 'ping' command
CLIENT => -ERR wrong number of arguments for 'client' command
CLIENT SETNAME => -ERR wrong number of arguments for 'client|setname' command
CLIENT NOSUCH => -ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.
CLIENT MAINT_NOTIFICATIONS ON => -ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.
cluster nosuch => -ERR unknown subcommand 'nosuch'. Try CLUSTER HELP.
KRAFT JUGGLE K2 => -ERR unknown subcommand 'JUGGLE'. Try KRAFT HELP.
CONFIG SET a b => -ERR unknown subcommand 'SET'. Try CONFIG HELP.
COMMAND NOSUCH => -ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP.
SET a 1 NX XX => -ERR syntax error
SET a 1 EX => -ERR syntax error
SET a 1 EX 1 PX 1 => -ERR syntax error
SET a 1 EX 1 KEEPTTL => -ERR syntax error
SET a 1 KEEPTTL EX 1 => -ERR syntax error
SET a 1 NOSUCH => -ERR syntax error
SET a 1 EX  => -ERR value is not an integer or out of range
SET a 1 PXAT  NX => -ERR value is not an integer or out of range
SETEX a  v => -ERR value is not an integer or out of range
EXPIRE a  => -ERR value is not an integer or out of range
INCRBY a  => -ERR value is not an integer or out of range
SELECT  => -ERR value is not an integer or out of range
HELLO  => -ERR Protocol version is not an integer or out of range
KRAFT COMPACT KEEP  => -ERR value is not an integer or out of range
CLIENT KILL ID  => -ERR client-id should be greater than 0
CLIENT LIST ID  => -ERR Invalid client ID
CLIENT KILL ID 0 => -ERR client-id should be greater than 0
CLIENT KILL MAXAGE -1 => -ERR maxage should be greater than 0
CLIENT KILL TYPE x => -ERR Unknown client type 'x'
CLIENT KILL USER bob => -ERR No such user 'bob'
CLIENT KILL NOSUCH 1 => -ERR syntax error
CLIENT KILL ID 1 2 => -ERR syntax error
CLIENT KILL SKIPME maybe => -ERR syntax error
COMMAND LIST FILTERBY => -ERR syntax error
COMMAND LIST FILTERBY AGE 3 => -ERR syntax error
CONFIG RESETSTAT all => -ERR wrong number of arguments for 'config|resetstat' command
SET a 1 EX x => -ERR value is not an integer or out of range
SET a 1 EX 1.5 => -ERR value is not an integer or out of range
SET a 1 EX +1 => -ERR value is not an integer or out of range
SET a 1 EX 01 => -ERR value is not an integer or out of range
SET a 1 EX 9223372036854775808 => -ERR value is not an integer or out of range
SET a 1 EX 0 => -ERR invalid expire time in 'set' command
SET a 1 PX -1 => -ERR invalid expire time in 'set' command
SET a 1 EX 9223372036854775807 => -ERR invalid expire time in 'set' command
SET a 1 PX 9223372036854775807 => -ERR invalid expire time in 'set' command
SETEX a 0 v => -ERR invalid expire time in 'setex' command
PSETEX a 0 v => -ERR invalid expire time in 'psetex' command
EXPIRE a x => -ERR value is not an integer or out of range
EXPIRE a 9223372036854775807 => -ERR invalid expire time in 'expire' command
EXPIRE a 1 NX GT => -ERR NX and XX, GT or LT options at the same time are not compatible
EXPIRE a 1 GT LT => -ERR GT and LT options at the same time are not compatible
SET persistent 1 => +OK
EXPIRE persistent 10 XX LT => :0
EXPIRE persistent 10 => :1
EXPIRE persistent 5 XX LT => :1
EXPIRE persistent 7 XX LT => :0
EXPIRE a 1 NOSUCH => -ERR Unsupported option NOSUCH
INCRBY a x => -ERR value is not an integer or out of range
DECRBY a -9223372036854775808 => -ERR decrement would overflow
SET a text => +OK
INCR a => -ERR value is not an integer or out of range
SET a 9223372036854775807 => +OK
INCR a => -ERR increment or decrement would overflow
SELECT 1 => -ERR DB index is out of range
SELECT x => -ERR value is not an integer or out of range
KRAFT ADD K4 => -ERR wrong number of arguments for 'kraft|add' command
KRAFT ADD K4 host => -ERR 'host' has no port; use host raft-port, or host:port
KRAFT ADD ../x host 1 => -ERR '../x' is not a node id; write 1 to 64 letters, digits, `_`, `.`, `-`
KRAFT ADD K4 host 0 => -ERR '0' is not a port; write 1 to 65535
KRAFT ADD K4 host x => -ERR 'x' is not a port; write 1 to 65535
KRAFT ADD K4 ho/st 1 => -ERR 'ho/st' is not a host; write host:port such as 10.0.0.5:10001
KRAFT ADD K4 host 1 PLEASE => -ERR unknown option 'PLEASE'; known options: LEARNER, FORCE
KRAFT ADD K4 host 1 FORCE FORCE => -ERR syntax error
KRAFT REMOVE => -ERR wrong number of arguments for 'kraft|remove' command
KRAFT REMOVE K4 LEARNER => -ERR unknown option 'LEARNER'; known options: FORCE
KRAFT TRANSFER K4 K5 => -ERR syntax error
KRAFT STEPDOWN now => -ERR wrong number of arguments for 'kraft|stepdown' command
KRAFT DRAIN maybe => -ERR DRAIN is ON or OFF, not 'maybe'
KRAFT COMPACT 5 => -ERR use KRAFT COMPACT or KRAFT COMPACT KEEP entries
KRAFT COMPACT KEEP -1 => -ERR the number of entries to keep is negative
KRAFT COMPACT KEEP x => -ERR value is not an integer or out of range
raft-add-node K4 => -ERR wrong number of arguments for 'raft-add-node' command
raft-add-node K4 host => -ERR 'host' has no port; use host raft-port, or host:port
raft-add-node K4 host 99999 => -ERR '99999' is not a port; write 1 to 65535
KRAFT CONSISTENCY EVENTUAL => -ERR consistency is LINEARIZABLE, LEASE or STALE
KRAFT CONSISTENCY LEASE => -ERR this node has no lease reads; set raft.lease_reads: true on all nodes
AUTH x => -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
AUTH somebody x => -WRONGPASS invalid username-password pair or user is disabled.
AUTH a b c => -ERR syntax error
HELLO 4 => -NOPROTO unsupported protocol version
HELLO x => -ERR Protocol version is not an integer or out of range
HELLO 3 NOSUCH => -ERR Syntax error in HELLO option 'NOSUCH'
HELLO 3 AUTH somebody x => -WRONGPASS invalid username-password pair or user is disabled.
GET missing => $-1
"""

CONNECTION = r"""
PING => +PONG
PING hi => $2\r\nhi
ECHO hi => $2\r\nhi
SELECT 0 => +OK
AUTH default anything => +OK
READONLY => +OK
READWRITE => +OK
ASKING => +OK
CLIENT ID => :1
CLIENT GETNAME => $-1
CLIENT SETNAME me => +OK
client getname => $2\r\nme
CLIENT SETINFO LIB-NAME lib => +OK
CLIENT SETINFO LIB-VER 1.0 => +OK
CLIENT SETINFO LIB-AGE 1 => -ERR Unrecognized option 'LIB-AGE'
CLIENT NO-EVICT ON => +OK
CLIENT NO-TOUCH off => +OK
CLIENT NO-TOUCH maybe => -ERR syntax error
CLIENT CAPA redirect => +OK
CLIENT KILL 1.2.3.4:5 => -ERR No such client
CLIENT KILL ID 99 => :0
RESET => +RESET
CLIENT GETNAME => $-1
HELLO 3 SETNAME me => %7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0
GET missing => _
CLIENT GETNAME => $2\r\nme
CONFIG GET save => %1\r\n$4\r\nsave\r\n$0\r\n
HELLO 2 AUTH default x => *14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0
CONFIG GET APPENDONLY => *2\r\n$10\r\nappendonly\r\n$3\r\nyes
CONFIG GET nothing* => *0
TIME => *2\r\n$10\r\n1700000000\r\n$1\r\n0
ROLE => *3\r\n$6\r\nmaster\r\n:7\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$5\r\n10012\r\n$1\r\n6
COMMAND GETKEYS MSET a 1 b 2 => *2\r\n$1\r\na\r\n$1\r\nb
COMMAND GETKEYS PING => -ERR The command has no key arguments
COMMAND GETKEYS NOSUCH => -ERR Invalid command specified
COMMAND GETKEYS GET => -ERR Invalid number of arguments specified for command
COMMAND LIST FILTERBY PATTERN mge? => *1\r\n$4\r\nmget
COMMAND INFO nosuch => *1\r\n$-1
COMMAND DOCS get => *2\r\n$3\r\nget\r\n*8\r\n$7\r\nsummary\r\n$27\r\nReturns the value of a key.\r\n$5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\ngroup\r\n$6\r\nstring\r\n$9\r\narguments\r\n*1\r\n*6\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0
COMMAND DOCS nosuch => *0
COMMAND GETKEYSANDFLAGS SET a 1 => *1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update
COMMAND GETKEYSANDFLAGS SET a 1 EX 9 get => *1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update
COMMAND GETKEYSANDFLAGS SET a GET => *1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update
COMMAND GETKEYSANDFLAGS PING => -ERR The command has no key arguments
COMMAND LIST FILTERBY ACLCAT TRANSACTION => *5\r\n$5\r\nmulti\r\n$4\r\nexec\r\n$7\r\ndiscard\r\n$5\r\nwatch\r\n$7\r\nunwatch
COMMAND LIST FILTERBY MODULE json => *0
COMMAND LIST FILTERBY PATTERN client|*ame => *2\r\n$14\r\nclient|getname\r\n$14\r\nclient|setname
CONFIG RESETSTAT => +OK
CLUSTER KEYSLOT 123456789 => :12739
CLUSTER KEYSLOT {user1000}.following => :3443
CLUSTER KEYSLOT foo{}{bar} => :8363
KRAFT LEADER => *6\r\n$5\r\ngroup\r\n:0\r\n$6\r\nleader\r\n$2\r\nK1\r\n$7\r\naddress\r\n$15\r\n127.0.0.1:10011
KRAFT LEADER key => *6\r\n$5\r\ngroup\r\n:0\r\n$6\r\nleader\r\n$2\r\nK1\r\n$7\r\naddress\r\n$15\r\n127.0.0.1:10011
KRAFT OUTPUT plain => -ERR plain output is for inline connections
QUIT => +OK
"""

FLUSHES = r"""
FLUSHALL NOW => -ERR syntax error
FLUSHDB ASYNC SYNC => -ERR syntax error
SET flushed 1 => +OK
FLUSHALL async => +OK
DBSIZE => :0
SET flushed 1 => +OK
flushdb => +OK
FLUSHDB SYNC => +OK
EXISTS flushed => :0
"""


SCRIPTS = [
    STRINGS,
    RANGES,
    CONDITIONS,
    FLOATS,
    BITS,
    NAMES_OF_KEYS,
    EXPIRY,
    FLUSHES,
    LOCKS,
    ERRORS,
    CONNECTION,
]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("step", ["whole", "byte by byte"])
def test_replies(script: str, step: str) -> None:
    """However the bytes are cut."""
    client = Port().connect()
    for line in script.strip("\n").split("\n"):
        asked, _, expected = line.partition(" => ")
        wanted = expected.encode().decode("unicode_escape").encode() + b"\r\n"
        words = asked.split(" ")
        if step == "whole":
            answer = client.run(*words)
        else:
            encoded = client.encode(*words)
            answer = b"".join(client.ask(encoded[n : n + 1]) for n in range(len(encoded)))
        assert answer == wanted, line


def test_a_command_of_a_later_machine_version_is_refused_alone() -> None:
    """Its neighbours in a pipeline are done; reads need no version, and nothing was asked of the host for it."""
    port = Port()
    port.host.machines[0].version = 1
    client = port.connect()
    requests = (("SET", "a", "1"), ("SETRANGE", "a", "0", "2"), ("SET", "b", "3"))
    answer = client.ask(b"".join(client.encode(*words) for words in requests))
    refused = b"-ERR 'setrange' needs machine version 2, but version 1 is in force\r\n"
    assert answer == b"+OK\r\n" + refused + b"+OK\r\n"
    assert client.run("GETRANGE", "a", "0", "-1") == b"$1\r\n1\r\n"
    port.host.machines[0].version = 2
    assert client.run("SETRANGE", "a", "0", "2") == b":1\r\n"

"""Users and their rights, as the ACL of Redis 7 has them: plain values, without a client or a clock."""

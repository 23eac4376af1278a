/// What an HTTP/2 codec counts, by Envoy's names (below `http2.`).
public enum HTTP2Counter: Int, CaseIterable, Sendable {
    /// Streams that the peer reset, and that we reset.
    case rx_reset, tx_reset
    /// Messages that broke the rules for messages (RFC 9113 §8.1.1).
    case rx_messaging_error
    /// Heads larger than the limit.
    case header_overflow
    /// Messages that ended with trailers.
    case trailers
    /// Requests refused because of an underscore in a field name, and fields dropped for it.
    case requests_rejected_with_underscores_in_headers, dropped_headers_with_underscores
    /// Floods that ended the connection (ATK-02, ATK-04).
    case inbound_empty_frames_flood, inbound_priority_frames_flood, inbound_window_update_frames_flood
    /// More frames than allowed wait for a peer that does not read.
    case outbound_flood, outbound_control_flood
    /// Floods that Envoy has no name for: pings and settings, resets (ATK-01), CONTINUATION.
    case inbound_control_frames_flood, premature_resets_flood, continuation_flood
    /// GOAWAY sent, streams refused by the peer.
    case goaway_sent, stream_refused_errors
    /// Our PING was not answered in time.
    case keepalive_timeout
}

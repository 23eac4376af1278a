// The landing file of this target; it declares nothing.
//
// HTTP: messages and their codecs. All codecs are sans-I/O: bytes in, events out; bytes out by appending to a buffer.
//
// Message/   RequestHead, ResponseHead: a message before its body, bytes it owns plus offsets (HeaderTable, HeaderID, HTTPMethod, BodyFraming).
// HTTP1/     HTTP1RequestParser (server side), HTTP1ResponseParser (client side), HTTP1Serializer, HTTP1Limits, HTTP1Error.
// HTTP2/     HTTP2Session over libnghttp2: delegates in place of events, budgets against floods (HTTP2Limits, HTTP2FrameBudget).
// GRPC/      Message framing, gRPC server and client for the control path.
// WebSocket/ WebSocketDecoder and frames (RFC 6455), WebSocketConnection over a ByteStream, for the control path.
// Server/    HTTPServer: async HTTP/1.1 server over a ByteStream, for the control path.
// Client/    HTTPClient: async HTTP/1.1 client over a ByteStream, for the control path.
//
// The data path uses Message/ and HTTP1/ like this (no allocation once the buffers are warm):
//
//     var parser = HTTP1RequestParser()
//     var offset = 0
//     loop: while true {
//         switch try parser.next(block.bytes, &offset) {          // block.bytes: a RawSpan of what was read
//         case .needMore: break loop                              // offset == block.byteCount: read again
//         case .head: route(parser.head)                          // .method, .path, .authority, .headers, .body, .isKeepAlive, .isUpgrade
//         case .body(let range): forward(block.bytes.extracting(range))
//         case .end: finish(parser.trailers)                      // do not call next() again before the response is complete
//         }
//     }
//
//     // Towards the upstream: change the head in place, then write it anew.
//     parser.head.headers.removeHopByHopFields()
//     try parser.head.headers.set(.xRequestId, id)                // RawSpan or String
//     HTTP1Serializer.append(parser.head, to: &output)            // host and framing come from head.authority and head.body
//
//     // Responses: announce the request first, its method decides about the body.
//     responses.expectResponse(to: parser.head.method)
//     … try responses.next(…) …                                   // .head with head.isInterim: 1xx, the real one follows
//     HTTP1Serializer.append(responses.head, answering: method, connection: .close, to: &output)
//
// Errors are HTTP1Error: answer error.status to a client, treat as connection failure from a server; the parser stays failed.
// Upgrade and CONNECT: when 101 / 2xx went out, requests.switchToTunnel(); the response side switches itself (head.body == .tunnel).

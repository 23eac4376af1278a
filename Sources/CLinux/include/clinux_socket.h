#pragma once
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

int clinux_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
/// recv(2) and send(2) without the C library's preparations for threads that are cancelled: bytes or -errno.
ssize_t clinux_receive(int fd, void *bytes, size_t count, int flags);
ssize_t clinux_send(int fd, const void *bytes, size_t count, int flags);
/// Pending socket error (SO_ERROR), or -errno.
int clinux_socket_error(int fd);
/// SO_ORIGINAL_DST of an IPv4 or IPv6 socket into `address`; 0 or -errno.
int clinux_original_destination(int fd, int family, struct sockaddr_storage *address);
/// Sends `fd` with `bytes` over a unix socket; bytes sent or -errno.
ssize_t clinux_send_fd(int socket, const void *bytes, size_t count, int fd);
/// Receives up to `count` bytes and at most one descriptor (close-on-exec), -1 in `*fd` when none came; bytes or -errno.
ssize_t clinux_receive_fd(int socket, void *bytes, size_t count, int *fd);
/// Credentials of the peer of a unix socket; 0 or -errno.
int clinux_peer_credentials(int fd, int32_t *pid, uint32_t *uid, uint32_t *gid);
/// Lets a datagram socket tell to which address each datagram came; 0 or -errno.
int clinux_enable_packet_info(int fd, int family);
/// Receives a datagram, who sent it and to which address (AF_UNSPEC where the kernel does not say); its whole length or -errno.
ssize_t clinux_receive_datagram(int fd, void *bytes, size_t count, struct sockaddr_storage *from, socklen_t *from_length, struct sockaddr_storage *to);
/// Sends a datagram from an address of ours; its length or -errno.
ssize_t clinux_send_datagram(int fd, const void *bytes, size_t count, const struct sockaddr *to, socklen_t to_length, const struct sockaddr *from);
/// Receives up to `count` datagrams (64 at most) without waiting, each into its own `size` bytes of `bytes`; `lengths` are their whole lengths,
/// which may be more. How many, or -errno.
int clinux_receive_batch(int fd, void *bytes, size_t size, unsigned count, uint32_t *lengths, struct sockaddr_storage *from);
/// Sends datagrams, each from its own `size` bytes of `bytes`; how many the kernel took, or -errno.
int clinux_send_batch(int fd, void *bytes, size_t size, unsigned count, const uint32_t *lengths, struct sockaddr_storage *to);

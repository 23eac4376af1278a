#include "clinux_socket.h"
#include <errno.h>
#include <linux/netfilter_ipv4.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// linux/netfilter_ipv6/ip6_tables.h collides with netinet/in.h; the number is the kernel's ABI.
#define CLINUX_IP6T_SO_ORIGINAL_DST 80

int clinux_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    int result = accept4(fd, address, length, flags);
    return result < 0 ? -errno : result;
}

// 32-bit systems have no such calls of their own; there, and nowhere else, the C library's are right.
ssize_t clinux_receive(int fd, void *bytes, size_t count, int flags) {
#ifdef SYS_recvfrom
    long result = syscall(SYS_recvfrom, fd, bytes, count, flags, NULL, NULL);
#else
    long result = recv(fd, bytes, count, flags);
#endif
    return result < 0 ? -errno : result;
}

ssize_t clinux_send(int fd, const void *bytes, size_t count, int flags) {
#ifdef SYS_sendto
    long result = syscall(SYS_sendto, fd, bytes, count, flags, NULL, 0);
#else
    long result = send(fd, bytes, count, flags);
#endif
    return result < 0 ? -errno : result;
}

int clinux_socket_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? -errno : error;
}

int clinux_original_destination(int fd, int family, struct sockaddr_storage *address) {
    socklen_t length = sizeof *address;
    int level = family == AF_INET6 ? SOL_IPV6 : SOL_IP;
    int option = family == AF_INET6 ? CLINUX_IP6T_SO_ORIGINAL_DST : SO_ORIGINAL_DST;
    return getsockopt(fd, level, option, address, &length) < 0 ? -errno : 0;
}

ssize_t clinux_send_fd(int socket, const void *bytes, size_t count, int fd) {
    char control[CMSG_SPACE(sizeof(int))];
    memset(control, 0, sizeof control);
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

ssize_t clinux_receive_fd(int socket, void *bytes, size_t count, int *fd) {
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec vector = {.iov_base = bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    *fd = -1;
    ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (received < 0) return -errno;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(fd, CMSG_DATA(header), sizeof(int));
    }
    return received;
}

int clinux_peer_credentials(int fd, int32_t *pid, uint32_t *uid, uint32_t *gid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -errno;
    *pid = credentials.pid;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return 0;
}

int clinux_enable_packet_info(int fd, int family) {
    int on = 1;
    if (family == AF_INET6) return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) < 0 ? -errno : 0;
    return setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) < 0 ? -errno : 0;
}

ssize_t clinux_receive_datagram(int fd, void *bytes, size_t count, struct sockaddr_storage *from, socklen_t *from_length, struct sockaddr_storage *to) {
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))]; } control;
    struct iovec vector = {.iov_base = bytes, .iov_len = count};
    struct msghdr message = {
        .msg_name = from, .msg_namelen = sizeof *from, .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    memset(to, 0, sizeof *to);
    ssize_t received = recvmsg(fd, &message, MSG_TRUNC);
    if (received < 0) return -errno;
    *from_length = message.msg_namelen;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO && header->cmsg_len >= CMSG_LEN(sizeof(struct in_pktinfo))) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(header), sizeof info);
            struct sockaddr_in *address = (struct sockaddr_in *)to;
            address->sin_family = AF_INET;
            address->sin_addr = info.ipi_addr;
        } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO && header->cmsg_len >= CMSG_LEN(sizeof(struct in6_pktinfo))) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(header), sizeof info);
            struct sockaddr_in6 *address = (struct sockaddr_in6 *)to;
            address->sin6_family = AF_INET6;
            address->sin6_addr = info.ipi6_addr;
        }
    }
    return received;
}

ssize_t clinux_send_datagram(int fd, const void *bytes, size_t count, const struct sockaddr *to, socklen_t to_length, const struct sockaddr *from) {
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))]; } control;
    memset(&control, 0, sizeof control);
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_name = (void *)to, .msg_namelen = to_length, .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes};
    struct cmsghdr *header = (struct cmsghdr *)control.bytes;
    if (from->sa_family == AF_INET6) {
        struct in6_pktinfo info = {.ipi6_addr = ((const struct sockaddr_in6 *)from)->sin6_addr};
        header->cmsg_level = IPPROTO_IPV6;
        header->cmsg_type = IPV6_PKTINFO;
        header->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(header), &info, sizeof info);
        message.msg_controllen = CMSG_SPACE(sizeof info);
    } else {
        struct in_pktinfo info = {.ipi_spec_dst = ((const struct sockaddr_in *)from)->sin_addr};
        header->cmsg_level = IPPROTO_IP;
        header->cmsg_type = IP_PKTINFO;
        header->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(header), &info, sizeof info);
        message.msg_controllen = CMSG_SPACE(sizeof info);
    }
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

#define CLINUX_BATCH_MAX 64

int clinux_receive_batch(int fd, void *bytes, size_t size, unsigned count, uint32_t *lengths, struct sockaddr_storage *from) {
    struct mmsghdr messages[CLINUX_BATCH_MAX];
    struct iovec vectors[CLINUX_BATCH_MAX];
    if (count > CLINUX_BATCH_MAX) count = CLINUX_BATCH_MAX;
    for (unsigned index = 0; index < count; index++) {
        vectors[index] = (struct iovec){.iov_base = (char *)bytes + index * size, .iov_len = size};
        messages[index].msg_hdr = (struct msghdr){
            .msg_name = &from[index], .msg_namelen = sizeof from[index], .msg_iov = &vectors[index], .msg_iovlen = 1};
    }
    int received = recvmmsg(fd, messages, count, MSG_DONTWAIT | MSG_TRUNC, NULL);
    if (received < 0) return -errno;
    for (int index = 0; index < received; index++) lengths[index] = messages[index].msg_len;
    return received;
}

int clinux_send_batch(int fd, void *bytes, size_t size, unsigned count, const uint32_t *lengths, struct sockaddr_storage *to) {
    struct mmsghdr messages[CLINUX_BATCH_MAX];
    struct iovec vectors[CLINUX_BATCH_MAX];
    if (count > CLINUX_BATCH_MAX) count = CLINUX_BATCH_MAX;
    for (unsigned index = 0; index < count; index++) {
        vectors[index] = (struct iovec){.iov_base = (char *)bytes + index * size, .iov_len = lengths[index]};
        messages[index].msg_hdr = (struct msghdr){
            .msg_name = &to[index],
            .msg_namelen = to[index].ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in),
            .msg_iov = &vectors[index], .msg_iovlen = 1};
        messages[index].msg_len = 0;
    }
    int sent = sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

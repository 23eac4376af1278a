// The one program of the containers that cni-check and docker-check run: it needs no library and no shell.
//   peer pause                sleeps
//   peer serve NAME PORT      answers each TCP connection and each datagram with "NAME CLIENT-ADDRESS"
//   peer ask HOST PORT        prints what a server answers, "refused", "timeout" or "no name"; a name is asked for by DNS
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer(const char *name, const struct sockaddr_in6 *peer, char *line, size_t size) {
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &peer->sin6_addr, text, sizeof text);
    snprintf(line, size, "%s %s\n", name, strncmp(text, "::ffff:", 7) == 0 ? text + 7 : text);
}

static int serve(const char *name, int port) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)}, peer;
    int tcp = socket(AF_INET6, SOCK_STREAM, 0), udp = socket(AF_INET6, SOCK_DGRAM, 0), on = 1;
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(tcp, (void *)&address, sizeof address) || listen(tcp, 16) || bind(udp, (void *)&address, sizeof address)) return perror("bind"), 1;
    puts("serving");
    fflush(stdout);
    for (;;) {
        struct pollfd entries[2] = {{.fd = tcp, .events = POLLIN}, {.fd = udp, .events = POLLIN}};
        socklen_t length = sizeof peer;
        char line[128], buffer[64];
        if (poll(entries, 2, -1) < 0) continue;
        if (entries[0].revents) {
            int connection = accept(tcp, (void *)&peer, &length);
            if (connection < 0) continue;
            answer(name, &peer, line, sizeof line);
            if (write(connection, line, strlen(line)) < 0) perror("write");
            close(connection);
        } else if (recvfrom(udp, buffer, sizeof buffer, 0, (void *)&peer, &length) >= 0) {
            answer(name, &peer, line, sizeof line);
            sendto(udp, line, strlen(line), 0, (void *)&peer, length);
        }
    }
}

// The first IPv4 address that the first name server of /etc/resolv.conf has for a name.
static int resolve(const char *name, char *text, size_t size) {
    FILE *file = fopen("/etc/resolv.conf", "r");
    char line[256], server[64] = "";
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "nameserver %63s", server) == 1) break;
    if (file) fclose(file);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};
    if (inet_pton(AF_INET, server, &address.sin_addr) != 1) return 0;
    unsigned char message[512] = {0x73, 0x6b, 1, 0, 0, 1}, *end = message + 12;
    for (const char *part = name; *part && end < message + 256;) {
        size_t length = strcspn(part, ".");
        if (length == 0 || length > 63) return 0;
        *end++ = (unsigned char)length;
        memcpy(end, part, length);
        end += length;
        part += length + (part[length] == '.');
    }
    memcpy(end, "\0\0\1\0\1", 5);
    size_t asked = (size_t)(end + 5 - message);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval limit = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (void *)&address, sizeof address) || send(fd, message, asked, 0) < 0) return 0;
    ssize_t count = recv(fd, message, sizeof message, 0);
    close(fd);
    // The answer repeats the question; each record has a name (whole, or a reference of two bytes), type, class, time and length.
    unsigned char *record = message + asked, *last = message + count;
    for (int left = count > 12 ? message[7] : 0; left > 0 && record < last; left--) {
        while (record < last && *record && *record < 0xc0) record += *record + 1;
        record += record < last && *record ? 2 : 1;
        if (record + 14 > last) break;
        int length = record[8] << 8 | record[9];
        if (record[1] == 1 && length == 4) return inet_ntop(AF_INET, record + 10, text, (socklen_t)size) != NULL;
        record += 10 + length;
    }
    return 0;
}

static int ask(const char *host, int port, int type) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};
    char found[INET_ADDRSTRLEN];
    if (!strchr(host, ':') && inet_pton(AF_INET, host, &v4.sin_addr) != 1) {
        if (!resolve(host, found, sizeof found)) return puts("no name"), 2;
        host = found;
    }
    int is_v4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1;
    if (!is_v4 && inet_pton(AF_INET6, host, &v6.sin6_addr) != 1) return puts("no address"), 2;
    int fd = socket(is_v4 ? AF_INET : AF_INET6, type, 0);
    struct timeval limit = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    char line[128];
    if (connect(fd, is_v4 ? (void *)&v4 : (void *)&v6, is_v4 ? sizeof v4 : sizeof v6) < 0)
        return puts(errno == ECONNREFUSED ? "refused" : errno == EINPROGRESS ? "timeout" : strerror(errno)), 1;
    if (type == SOCK_DGRAM && write(fd, "?", 1) < 0) return puts(strerror(errno)), 1;
    ssize_t count = read(fd, line, sizeof line - 1);
    if (count <= 0) return puts(errno == ECONNREFUSED ? "refused" : "timeout"), 1;
    line[count] = 0;
    fputs(line, stdout);
    return 0;
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    if (getpid() == 1) signal(SIGTERM, exit);
    if (count == 4 && !strcmp(words[1], "serve")) return serve(words[2], atoi(words[3]));
    if (count == 4 && !strcmp(words[1], "ask")) return ask(words[2], atoi(words[3]), SOCK_STREAM);
    if (count == 4 && !strcmp(words[1], "ask-udp")) return ask(words[2], atoi(words[3]), SOCK_DGRAM);
    for (;;) pause();
}

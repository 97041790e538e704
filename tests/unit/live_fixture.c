/* SPDX-License-Identifier: BSD-2-Clause */
/* Servers for the tests of live. What a script finds wrong ends the test program. */
#include "live_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void *play(void *arg)
{
    struct fake *f = arg;
    int fd = accept(f->listener, NULL, NULL);
    if (fd >= 0) {
        f->script(fd);
        close(fd);
    }
    return NULL;
}

void fake_start(struct fake *f, void (*script)(int fd))
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *tmp = getenv("TMPDIR");
    *f = (struct fake){.script = script};
    snprintf(f->folder, sizeof f->folder, "%.40s/byre-live.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/socket", f->folder);
    memcpy(address.sun_path, f->path, sizeof f->path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(f->listener, 0), 0);
    if (script)
        assert_int_equal(pthread_create(&f->thread, NULL, play, f), 0);
}

void fake_end(struct fake *f)
{
    if (f->script)
        pthread_join(f->thread, NULL);
    close(f->listener);
    unlink(f->path);
    rmdir(f->folder);
}

void fake_say(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

json_t *fake_hear(int fd)
{
    char line[4096];
    size_t used = 0;
    while (used < sizeof line && read(fd, line + used, 1) == 1)
        if (line[used++] == '\n') {
            size_t skip = (unsigned char)line[0] == 0xff;
            return json_loadb(line + skip, used - skip, 0, NULL);
        }
    return NULL;
}

void fake_serve(int fd, const char *command, const char *reply)
{
    char text[1024];
    json_t *request = fake_hear(fd);
    const char *execute = json_string_value(json_object_get(request, "execute"));
    const char *id = json_string_value(json_object_get(request, "id"));
    if (execute == NULL || strcmp(execute, command) != 0) {
        fprintf(stderr, "%s came, not %s\n", execute ? execute : "nothing", command);
        abort();
    }
    const char *at = strstr(reply, "%s");
    if (at != NULL)
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - reply), reply, id ? id : "?", at + 2);
    else
        snprintf(text, sizeof text, "%s", reply);
    json_decref(request);
    fake_say(fd, text);
}

void fake_wait(int fd)
{
    char buf[4096];
    while (read(fd, buf, sizeof buf) > 0)
        ;
}

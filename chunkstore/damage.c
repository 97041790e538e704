/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a check found of stored data, in lists: which objects, packs and segments
 * are bad, and in what way. What is to be done about it is repair's.
 */
#include "damage.h"

#include <stdlib.h>
#include <string.h>

/* Room for one more element of ${size} bytes; NULL where there is no memory. */
static void *grow(void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0) /* room ends at the powers of two */
        return array;
    return reallocarray(array, count > 0 ? 2 * count : 1, size);
}

static int add_object(struct cs_lost **objects, size_t *count, const struct cs_name *pack,
                      const struct cs_id *id, struct cs_error *err)
{
    struct cs_lost *more = grow(*objects, *count, sizeof *more);
    if (more == NULL)
        return cs_fail_memory(err);
    *objects = more;
    more[(*count)++] = (struct cs_lost){.pack = *pack, .id = *id};
    return 0;
}

int cs_damage_add_object(struct cs_damage *d, const struct cs_name *pack, const struct cs_id *id,
                         struct cs_error *err)
{
    return add_object(&d->objects, &d->object_count, pack, id, err);
}

int cs_damage_add_unread(struct cs_damage *d, const struct cs_name *pack, const struct cs_id *id,
                         struct cs_error *err)
{
    return add_object(&d->unread_objects, &d->unread_object_count, pack, id, err);
}

int cs_damage_add_name(struct cs_name **names, size_t *count, const struct cs_name *name,
                       struct cs_error *err)
{
    if (*count > 0 && memcmp(*names + *count - 1, name, sizeof *name) == 0)
        return 0;
    struct cs_name *more = grow(*names, *count, sizeof *more);
    if (more == NULL)
        return cs_fail_memory(err);
    *names = more;
    more[(*count)++] = *name;
    return 0;
}

/* By id, then by pack. */
static int compare_objects(const void *a, const void *b)
{
    const struct cs_lost *x = a, *y = b;
    int order = memcmp(&x->id, &y->id, sizeof x->id);
    return order != 0 ? order : memcmp(&x->pack, &y->pack, sizeof x->pack);
}

static int compare_names(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct cs_name));
}

bool cs_damage_has_name(const struct cs_name *names, size_t count, const struct cs_name *name)
{
    return count > 0 && bsearch(name, names, count, sizeof *names, compare_names) != NULL;
}

static void sort_names(struct cs_name *names, size_t *count)
{
    size_t kept = 0;
    if (*count == 0)
        return;
    qsort(names, *count, sizeof *names, compare_names);
    for (size_t i = 0; i < *count; i++)
        if (kept == 0 || compare_names(&names[i], &names[kept - 1]) != 0)
            names[kept++] = names[i];
    *count = kept;
}

static void sort_objects(struct cs_lost *objects, size_t *count)
{
    size_t kept = 0;
    if (*count == 0)
        return;
    qsort(objects, *count, sizeof *objects, compare_objects);
    for (size_t i = 0; i < *count; i++)
        if (kept == 0 || compare_objects(&objects[i], &objects[kept - 1]) != 0)
            objects[kept++] = objects[i];
    *count = kept;
}

void cs_damage_sort(struct cs_damage *d)
{
    sort_objects(d->objects, &d->object_count);
    sort_objects(d->unread_objects, &d->unread_object_count);
    sort_names(d->gone, &d->gone_count);
    sort_names(d->broken, &d->broken_count);
    sort_names(d->unread, &d->unread_count);
    sort_names(d->unopened, &d->unopened_count);
    sort_names(d->segments, &d->segment_count);
}

static int compare_id(const void *key, const void *element)
{
    return memcmp(key, &((const struct cs_lost *)element)->id, sizeof(struct cs_id));
}

bool cs_damage_has(const struct cs_damage *d, const struct cs_id *id)
{
    return d->object_count > 0 &&
           bsearch(id, d->objects, d->object_count, sizeof *d->objects, compare_id) != NULL;
}

bool cs_damage_has_place(const struct cs_lost *objects, size_t count, const struct cs_name *pack,
                         const struct cs_id *id)
{
    struct cs_lost key = {.pack = *pack, .id = *id};
    return count > 0 && bsearch(&key, objects, count, sizeof *objects, compare_objects) != NULL;
}

void cs_damage_clear(struct cs_damage *d)
{
    free(d->objects);
    free(d->gone);
    free(d->broken);
    free(d->unread);
    free(d->unopened);
    free(d->unread_objects);
    free(d->segments);
    *d = (struct cs_damage){0};
}

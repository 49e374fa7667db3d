/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devicetree overlays through configfs, in the three dialects seen on boards.
 *
 * For tests alone. Mainline applies overlays (drivers/of/overlay.c) but gives user space no way
 * to ask for one; each vendor ships its own, and they differ in what they promise. This driver
 * makes the same two calls as all of them, of_overlay_fdt_apply() and of_overlay_remove(), behind
 * the promises, and the lies, of the dialect chosen when an overlay's folder is made:
 *
 *   vendor  closing `dtbo` or writing `path` applies; `status` says what is.
 *   xilinx  the same files; `status` says "applied" from the moment an apply begins, and goes on
 *           saying so when it fails; a `path` that fails is reported as written.
 *   switch  `dtbo` is kept; 1 or 0 written to `status` applies or removes, and never fails.
 *
 * It is linked into the kernel, so it is under the kernel's licence, unlike the rest of this tree.
 */
#ifndef OVERLAY_DIALECTS_H
#define OVERLAY_DIALECTS_H

#include <linux/configfs.h>
#include <linux/mutex.h>

enum dialect { VENDOR, XILINX, SWITCH };

struct overlay {
	struct config_item item;
	enum dialect dialect;
	struct mutex changing;	/* held for the whole of an apply or a removal */
	struct mutex contents;	/* held only while blob or path are looked at, so reads never wait */
	void *blob;
	size_t blob_size;
	char path[256];
	int changeset;		/* from of_overlay_fdt_apply(), 0 while nothing is applied */
	bool begun;		/* an apply was begun: all that the xilinx status looks at */
};

static inline struct overlay *to_overlay(struct config_item *item)
{
	return container_of(item, struct overlay, item);
}

static inline bool overlay_in_use(struct overlay *overlay)
{
	return overlay->path[0] || overlay->blob_size;
}

int overlay_keep_blob(struct overlay *overlay, const void *blob, size_t size);
void overlay_set_path(struct overlay *overlay, const char *path);
int overlay_apply(struct overlay *overlay, const void *blob, size_t size);
void overlay_remove(struct overlay *overlay);

/* The files of a folder: `path`, `status`, `dtbo`; or `status` that switches, `dtbo`. */
extern const struct config_item_type overlay_vendor_type;
extern const struct config_item_type overlay_switch_type;

#endif

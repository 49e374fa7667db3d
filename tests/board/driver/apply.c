// SPDX-License-Identifier: GPL-2.0
/* What an overlay holds, and the two calls that put it on the tree and take it off. */
#include <linux/delay.h>
#include <linux/moduleparam.h>
#include <linux/of.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "dialects.h"

/* Stands in for a slow bitstream: how long an apply waits before it touches the tree. */
static unsigned int delay_ms;
module_param(delay_ms, uint, 0644);

int overlay_keep_blob(struct overlay *overlay, const void *blob, size_t size)
{
	void *copy = size ? kmemdup(blob, size, GFP_KERNEL) : NULL;

	if (size && !copy)
		return -ENOMEM;
	mutex_lock(&overlay->contents);
	kfree(overlay->blob);
	overlay->blob = copy;
	overlay->blob_size = size;
	mutex_unlock(&overlay->contents);
	return 0;
}

void overlay_set_path(struct overlay *overlay, const char *path)
{
	mutex_lock(&overlay->contents);
	strscpy(overlay->path, path);
	strim(overlay->path);
	mutex_unlock(&overlay->contents);
}

/* A changeset that failed half-way is taken back, so that a failure leaves no node behind. */
int overlay_apply(struct overlay *overlay, const void *blob, size_t size)
{
	int id = 0;
	int err;

	WRITE_ONCE(overlay->begun, true);
	msleep(READ_ONCE(delay_ms));
	err = of_overlay_fdt_apply(blob, size, &id, NULL);
	if (err) {
		pr_info("%s: not applied: %d\n", config_item_name(&overlay->item), err);
		if (id > 0)
			of_overlay_remove(&id);
		return err;
	}
	WRITE_ONCE(overlay->changeset, id);
	return 0;
}

void overlay_remove(struct overlay *overlay)
{
	int id = overlay->changeset;
	int err;

	if (id <= 0)
		return;
	/* The core refuses while a later overlay stands on this one: it stays, as on a board. */
	err = of_overlay_remove(&id);
	if (err)
		pr_info("%s: not removed: %d\n", config_item_name(&overlay->item), err);
	else
		WRITE_ONCE(overlay->changeset, 0);
}

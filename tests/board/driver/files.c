// SPDX-License-Identifier: GPL-2.0
/* The files of an overlay's folder, where the dialects part ways. */
#include <linux/firmware.h>
#include <linux/kstrtox.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "dialects.h"

/* configfs gathers what is written to `dtbo` and calls this in release(), where errors are lost. */
static ssize_t overlay_dtbo_write(struct config_item *item, const void *data, size_t size)
{
	struct overlay *overlay = to_overlay(item);
	int err = 0;

	mutex_lock(&overlay->changing);
	if (overlay->dialect == SWITCH)
		err = overlay->changeset ? -EPERM : overlay_keep_blob(overlay, data, size);
	else if (overlay_in_use(overlay))
		err = -EPERM;
	else
		err = overlay_keep_blob(overlay, data, size);
	if (!err && overlay->dialect != SWITCH) {
		err = overlay_apply(overlay, data, size);
		if (err)
			overlay_keep_blob(overlay, NULL, 0);
	}
	mutex_unlock(&overlay->changing);
	return err ?: size;
}

static ssize_t overlay_dtbo_read(struct config_item *item, void *data, size_t size)
{
	struct overlay *overlay = to_overlay(item);
	size_t held;

	/* Asked twice: for the size with no buffer, then with one of that size. */
	mutex_lock(&overlay->contents);
	held = data ? min(size, overlay->blob_size) : overlay->blob_size;
	if (data && held)
		memcpy(data, overlay->blob, held);
	mutex_unlock(&overlay->contents);
	return held;
}

static ssize_t overlay_path_show(struct config_item *item, char *page)
{
	struct overlay *overlay = to_overlay(item);
	ssize_t length;

	mutex_lock(&overlay->contents);
	length = sprintf(page, "%s\n", overlay->path);
	mutex_unlock(&overlay->contents);
	return length;
}

static ssize_t overlay_path_store(struct config_item *item, const char *page, size_t count)
{
	struct overlay *overlay = to_overlay(item);
	const struct firmware *blob;
	int err = -EPERM;

	if (count >= sizeof(overlay->path))
		return -ENAMETOOLONG;
	mutex_lock(&overlay->changing);
	if (overlay_in_use(overlay))
		goto out;
	overlay_set_path(overlay, page);
	err = request_firmware(&blob, overlay->path, NULL);
	if (!err) {
		err = overlay_apply(overlay, blob->data, blob->size);
		release_firmware(blob);
	}
	if (err) {
		overlay_set_path(overlay, "");
		if (overlay->dialect == XILINX)
			err = 0;
	}
out:
	mutex_unlock(&overlay->changing);
	return err ?: count;
}

static ssize_t overlay_status_show(struct config_item *item, char *page)
{
	struct overlay *overlay = to_overlay(item);
	bool applied = READ_ONCE(overlay->changeset) > 0;

	if (overlay->dialect == SWITCH)
		return sprintf(page, "%d\n", applied);
	if (overlay->dialect == XILINX)
		applied = READ_ONCE(overlay->begun);
	return sprintf(page, "%s\n", applied ? "applied" : "unapplied");
}

static ssize_t overlay_switch_store(struct config_item *item, const char *page, size_t count)
{
	struct overlay *overlay = to_overlay(item);
	bool on;

	if (kstrtobool(page, &on))
		return -EINVAL;
	mutex_lock(&overlay->changing);
	if (!on)
		overlay_remove(overlay);
	else if (!overlay->changeset)
		overlay_apply(overlay, overlay->blob, overlay->blob_size);
	mutex_unlock(&overlay->changing);
	return count;
}

static struct configfs_attribute overlay_attr_switch = {
	.ca_name = "status",
	.ca_mode = 0644,
	.ca_owner = THIS_MODULE,
	.show = overlay_status_show,
	.store = overlay_switch_store,
};

CONFIGFS_ATTR(overlay_, path);
CONFIGFS_ATTR_RO(overlay_, status);
CONFIGFS_BIN_ATTR(overlay_, dtbo, NULL, SZ_1M);

static struct configfs_attribute *vendor_attrs[] = {
	&overlay_attr_path, &overlay_attr_status, NULL,
};

static struct configfs_attribute *switch_attrs[] = { &overlay_attr_switch, NULL };

static struct configfs_bin_attribute *blob_attrs[] = { &overlay_attr_dtbo, NULL };

static void overlay_release(struct config_item *item)
{
	struct overlay *overlay = to_overlay(item);

	overlay_remove(overlay);
	kfree(overlay->blob);
	kfree(overlay);
}

static struct configfs_item_operations overlay_item_ops = { .release = overlay_release };

const struct config_item_type overlay_vendor_type = {
	.ct_item_ops = &overlay_item_ops,
	.ct_attrs = vendor_attrs,
	.ct_bin_attrs = blob_attrs,
	.ct_owner = THIS_MODULE,
};

const struct config_item_type overlay_switch_type = {
	.ct_item_ops = &overlay_item_ops,
	.ct_attrs = switch_attrs,
	.ct_bin_attrs = blob_attrs,
	.ct_owner = THIS_MODULE,
};

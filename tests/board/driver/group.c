// SPDX-License-Identifier: GPL-2.0
/* device-tree/overlays: where a mkdir makes an overlay, in the dialect of the moment. */
#include <linux/init.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "dialects.h"

static const char * const dialect_names[] = { "vendor", "xilinx", "switch", NULL };

/* What the next folder speaks; one that exists keeps its own. */
static int mode = VENDOR;

static int mode_set(const char *text, const struct kernel_param *param)
{
	int found = sysfs_match_string(dialect_names, text);

	if (found < 0)
		return found;
	WRITE_ONCE(mode, found);
	return 0;
}

static int mode_get(char *page, const struct kernel_param *param)
{
	return sysfs_emit(page, "%s\n", dialect_names[READ_ONCE(mode)]);
}

static const struct kernel_param_ops mode_ops = { .set = mode_set, .get = mode_get };
module_param_cb(mode, &mode_ops, NULL, 0644);

static struct config_item *overlays_make_item(struct config_group *group, const char *name)
{
	struct overlay *overlay = kzalloc(sizeof(*overlay), GFP_KERNEL);

	if (!overlay)
		return ERR_PTR(-ENOMEM);
	overlay->dialect = READ_ONCE(mode);
	mutex_init(&overlay->changing);
	mutex_init(&overlay->contents);
	config_item_init_type_name(&overlay->item, name,
				   overlay->dialect == SWITCH ? &overlay_switch_type :
				   &overlay_vendor_type);
	return &overlay->item;
}

static struct configfs_group_operations overlays_ops = { .make_item = overlays_make_item };

static const struct config_item_type overlays_type = {
	.ct_group_ops = &overlays_ops,
	.ct_owner = THIS_MODULE,
};

static const struct config_item_type subsystem_type = { .ct_owner = THIS_MODULE };

static struct config_group overlays;

static struct configfs_subsystem subsystem = {
	.su_group = {
		.cg_item = { .ci_namebuf = "device-tree", .ci_type = &subsystem_type },
	},
	.su_mutex = __MUTEX_INITIALIZER(subsystem.su_mutex),
};

static int __init overlay_dialects_init(void)
{
	config_group_init(&subsystem.su_group);
	config_group_init_type_name(&overlays, "overlays", &overlays_type);
	configfs_add_default_group(&overlays, &subsystem.su_group);
	return configfs_register_subsystem(&subsystem);
}
late_initcall(overlay_dialects_init);

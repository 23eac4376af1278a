// The Linux door: system calls and constants that Swift's Glibc module lacks. No logic. Functions return -errno on
// failure. One header per topic, so that a reader finds the words of one man page in one place.
#pragma once
#include "clinux_files.h"
#include "clinux_socket.h"
#include "clinux_spawn.h"
#include "clinux_system.h"
#include "clinux_netns.h"

/* Tiles of 8-bit integers. */
#include "backend/cuda/conv_eight.cuh"

const omcu_form *omcu_forms_int8(int *n)
{
    static const omcu_form forms[] = {
        eight_entry<integers, 128, 16, 64, 32, 16, 4>("128x16x64"),
        eight_entry<integers, 128, 32, 64, 32, 32, 4>("128x32x64"),
        eight_entry<integers, 256, 32, 64, 64, 32, 3>("256x32x64"),
        eight_entry<integers, 64, 64, 64, 32, 32, 4>("64x64x64"),
        eight_entry<integers, 128, 64, 64, 64, 32, 4>("128x64x64"),
        eight_entry<integers, 128, 64, 128, 32, 64, 3>("128x64x128"),
        eight_entry<integers, 64, 128, 64, 32, 64, 4>("64x128x64"),
        eight_entry<integers, 128, 128, 64, 64, 64, 4>("128x128x64"),
    };
    *n = static_cast<int>(sizeof forms / sizeof forms[0]);
    return forms;
}

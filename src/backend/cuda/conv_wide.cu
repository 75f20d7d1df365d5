/* Tiles for many output channels. */
#include "backend/cuda/conv_tiles.cuh"

const omcu_form *omcu_forms_wide(int *n)
{
    static const omcu_form forms[] = {
        entry<128, 128, 32, 64, 64, 4>("128x128x32"), entry<128, 128, 64, 64, 32, 3>("128x128x64"),
        entry<256, 128, 32, 64, 64, 3>("256x128x32"), entry<128, 80, 32, 32, 80, 4>("128x80x32"),
        entry<128, 80, 64, 32, 80, 3>("128x80x64"),   entry<256, 80, 32, 64, 80, 3>("256x80x32"),
    };
    *n = static_cast<int>(sizeof forms / sizeof forms[0]);
    return forms;
}

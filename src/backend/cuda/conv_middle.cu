/* Tiles of 64 output channels. */
#include "backend/cuda/conv_tiles.cuh"

const omcu_form *omcu_forms_middle(int *n)
{
    static const omcu_form forms[] = {
        entry<64, 64, 32, 32, 32, 4>("64x64x32"),   entry<64, 64, 64, 32, 32, 4>("64x64x64"),
        entry<128, 64, 32, 64, 32, 4>("128x64x32"), entry<128, 64, 64, 32, 64, 3>("128x64x64"),
        entry<256, 64, 32, 64, 32, 3>("256x64x32"),
    };
    *n = static_cast<int>(sizeof forms / sizeof forms[0]);
    return forms;
}

/* Tiles of f32 as tf32: ten bits behind the point in the factors, the sums exact. */
#include "backend/cuda/conv_eight.cuh"

const omcu_form *omcu_forms_tf32(int *n)
{
    static const omcu_form forms[] = {
        eight_entry<tensor_floats, 128, 16, 16, 32, 16, 4>("128x16x16"),
        eight_entry<tensor_floats, 128, 32, 16, 32, 32, 4>("128x32x16"),
        eight_entry<tensor_floats, 128, 64, 16, 64, 32, 4>("128x64x16"),
        eight_entry<tensor_floats, 128, 64, 32, 32, 64, 3>("128x64x32"),
        eight_entry<tensor_floats, 128, 128, 16, 64, 64, 4>("128x128x16"),
        eight_entry<tensor_floats, 128, 128, 32, 64, 32, 3>("128x128x32"),
        eight_entry<tensor_floats, 64, 64, 32, 32, 32, 3>("64x64x32"),
    };
    *n = static_cast<int>(sizeof forms / sizeof forms[0]);
    return forms;
}

"""The host's backend."""

from typing import Annotated

import vision_engine
from batch_processor import process_dataset
from database import Base, Character, ReferenceImage, SessionLocal, engine, host_database
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from adapters.host.database import NoSharedShape, fit_shared_shape, load_shared_shape, read_scores

app = FastAPI()
Base.metadata.create_all(engine)


def get_session():
    with SessionLocal() as session:
        yield session


class Reference(BaseModel):
    file_path: str
    image_type: str


class Dataset(BaseModel):
    image_paths: list[str]


@app.post("/characters/{name}/references")
def set_reference_images(
    name: str, references: list[Reference], session: Annotated[Session, Depends(get_session)]
) -> dict:
    character = session.scalar(select(Character).where(Character.name == name)) or Character(name=name)
    session.add(character)
    session.flush()
    session.execute(delete(ReferenceImage).where(ReferenceImage.character_id == character.id))
    for reference in references:
        (person,) = vision_engine.estimate_pose(reference.file_path)
        session.add(ReferenceImage(character_id=character.id, keypoints=person, **reference.model_dump()))
    session.commit()
    try:
        stored = fit_shared_shape(host_database, character.id, vision_engine.smpl_model, vision_engine.POSE_MODE)
    except NoSharedShape as error:
        raise HTTPException(422, str(error)) from error
    return {"character_id": character.id, "betas": stored.betas.tolist()}


@app.post("/characters/{character_id}/dataset")
def score_dataset(character_id: int, dataset: Dataset) -> dict:
    return dict(process_dataset(character_id, dataset.image_paths).by_status)


@app.get("/characters/{character_id}/scores")
def scores(character_id: int, session: Annotated[Session, Depends(get_session)]) -> dict:
    rows = read_scores(session, host_database.scores, character_id)
    return {row.image: row.consistency for row in rows}


@app.get("/characters/{character_id}/analysis")
def analyse(character_id: int, image_path: str) -> dict:
    try:
        shape = load_shared_shape(host_database, character_id)
    except NoSharedShape:
        shape = None
    result = vision_engine.analyzer.analyze(image_path, optimized_beta=shape)
    return {"consistency_3d": result.consistency_3d, "reason": result.reason, "ratios": result.ratios}
